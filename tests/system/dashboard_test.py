"""Each panel of the dashboard and each alert on a real Prometheus, while the daemon is busy.

Each expression of the dashboard gives numbers, which a browser draws in their places (SKIPPED where there is no
Chromium), and the laws hold in what was scraped.
"""
import collections
import concurrent.futures
import json
import math
import random
import re
import threading
import unittest
import urllib.request

import grpc
import yaml

import browser
import daemon
import laws
import prometheus
from daemon import ROOT, long_request, pb, stubborn_channel, wait_until

LOAD_SEED = 20261201
RULES = ROOT / "deploy/prometheus/rules"
# A cache that eight long requests do not fit into, and room for a few that wait.
FLAGS = ("--kv-blocks", "40", "--max-rows", "6", "--max-queued-requests", "6", "--max-pending-bytes", "1024",
         "--kv-events-listen", "tcp://127.0.0.1:0")
# Panels whose lines may stay at zero: this load does not bring about what they count, or not on a fast or busy machine.
STILL = {"Faults", "Connections refused and cut off", "First tokens later than 2 s", "KV events", "Drafts of a row",
         "Credentials refused"}
MIN_SCRAPES, MAX_SCRAPES = 15, 45
COMPARISON = re.compile(r"(?<=[\w\])}]) (<|>|==|!=|<=|>=) (?!bool)")


def panels():
    return json.loads((ROOT / "deploy/grafana/latentd.json").read_text())["panels"]


def expression_of(target):
    return target["expr"].replace("$__rate_interval", "5s").replace("$job", "latentd").replace("$instance", ".*")


def expressions_of_panels():
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], expression_of(target)


def name_of(series, target):
    """As Grafana writes it into the legend."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: series["metric"].get(match[1], ""), target["legendFormat"]).strip()


def cells(grid):
    return {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}


def alerts():
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Load:
    """Clients of several tenants and priorities that cancel, miss deadlines and read slowly, until `stop`."""

    def __init__(self, server):
        self.server, self.stopping = server, threading.Event()
        self.codes, self.lock = collections.Counter(), threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(17)
        self.clients = [self.pool.submit(self.run, client) for client in range(16)]
        self.clients.append(self.pool.submit(self.read_slowly))

    def stop(self):
        self.stopping.set()
        for client in self.clients:
            client.result()
        self.pool.shutdown()

    def message(self, source):
        message = long_request(seed=source.randrange(1 << 30), max_tokens=source.choice([8, 60, 400]))
        opening = source.choice(["A king", "A fox", "The sea", "My mother", f"Story {source.randrange(1 << 20)}"])
        message.text = f"{opening} went out into the world. " * source.randrange(1, 40)
        message.scheduling.priority = source.choice([0, 0, 0, 1, 2])
        if source.random() < 0.2:
            message.scheduling.timeout.nanos = source.randrange(1_000_000, 200_000_000)
        if source.random() < 0.3:
            message.cache.salt = source.choice(["one", "another"])
        if source.random() < 0.3:
            message.stopping.stop.append("the")
        if source.random() < 0.3:
            message.sampling.temperature = 0
        return message

    def run(self, client):
        source = random.Random(LOAD_SEED + client)
        tenant = [("x-latentd-tenant", f"tenant-{client % 3}")]
        while not self.stopping.is_set():
            call = self.server.generation.Generate(self.message(source), metadata=tenant)
            try:
                for event in call:
                    if event.delta.tokens_so_far >= 8 and source.random() < 0.02:
                        call.cancel()
            except grpc.RpcError:
                pass
            with self.lock:
                self.codes[call.code().name] += 1

    def read_slowly(self):
        """Leaves an answer unread until its request pauses, then reads it."""
        while not self.stopping.is_set():
            with stubborn_channel(self.server) as channel:
                message = long_request()
                message.output.logprobs = 32
                message.scheduling.priority = 8
                call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(message)
                paused = self.server.sum("slow_consumer_total", action="paused")
                try:
                    next(call)
                    wait_until(lambda: self.server.sum("slow_consumer_total", action="paused") > paused or
                               self.stopping.is_set(), "a slow reader's request pauses")
                    for _ in call:
                        pass
                except grpc.RpcError:
                    pass
                with self.lock:
                    self.codes[call.code().name] += 1


class DashboardTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(daemon.Daemon(*FLAGS))
        cls.prometheus = cls.enterClassContext(
            prometheus.Prometheus(cls.server.metrics_address, rule_files=RULES / "*.yml"))
        load = Load(cls.server)
        cls.unmoved, cls.num_seen = ["all"], 0
        try:
            wait_until(lambda: cls.all_move() or cls.num_seen >= MAX_SCRAPES, "Prometheus scrapes")
            assert not cls.unmoved, f"panels that stay empty or at zero under load: {cls.unmoved}"
        finally:
            load.stop()
        cls.codes = load.codes
        cls.server.wait_until_idle()
        finished = cls.server.sum("requests_finished_total")
        wait_until(lambda: cls.prometheus.value("sum(latentd_requests_finished_total)") == finished, "it is scraped")

    @classmethod
    def moments(cls):
        """The times of all scrapes, as Prometheus has them, to the millisecond."""
        series = cls.prometheus.query('latentd_state{state="serving"}[10m]')
        return [moment for moment, _ in series[0]["values"]] if series else []

    @classmethod
    def series(cls, expression):
        """Since the first scrape."""
        moments = cls.moments()
        return cls.prometheus.query(expression, path="query_range", start=moments[0], end=moments[-1], step=1)

    @classmethod
    def values(cls, expression):
        """All finite values of the expression since the first scrape."""
        values = [float(value) for one in cls.series(expression) for _, value in one["values"]]
        return [value for value in values if math.isfinite(value)]

    @classmethod
    def all_move(cls):
        """Asked again after each scrape."""
        scrapes = len(cls.moments())
        if scrapes > cls.num_seen:
            cls.num_seen = scrapes
            cls.unmoved = [title for title, expression in expressions_of_panels()
                           if title not in STILL and not any(cls.values(expression))]
        return not cls.unmoved and cls.num_seen >= MIN_SCRAPES

    def test_each_panel_has_numbers(self):
        for title, expression in expressions_of_panels():
            with self.subTest(title):
                self.assertTrue(self.values(expression), expression)

    def drawing(self, panel):
        """What the page draws of a panel."""
        lines = []
        for target in panel.get("targets", []):
            for series in self.series(expression_of(target)):
                points = [[moment, float(value)] for moment, value in series["values"] if math.isfinite(float(value))]
                if points:
                    lines.append(dict(name=name_of(series, target), points=points))
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        return dict(title=panel["title"], grid=panel["gridPos"], unit=unit, series=lines, is_row=panel["type"] == "row")

    def test_panels_have_places_of_their_own(self):
        taken = set()
        for panel in panels():
            wanted = cells(panel["gridPos"])
            self.assertFalse(wanted & taken, panel["title"])
            self.assertLessEqual(max(x for x, _ in wanted), 23, panel["title"])
            taken |= wanted

    @browser.needs_browser
    def test_panels_look_as_they_should(self):
        """Drawn plainly, by a page of ours: Debian has no Grafana."""
        drawings = [self.drawing(panel) for panel in panels()]
        page = (ROOT / "tests/system/dashboard_page.html").read_text()
        text = page.replace("DASHBOARD_PANELS", json.dumps(drawings).replace("<", "\\u003c"))
        height = 40 * max(drawing["grid"]["y"] + drawing["grid"]["h"] for drawing in drawings)
        page = browser.look(text, "dashboard", width=1600, height=height)
        self.assertEqual(page.problems, [])
        self.assertEqual(list(page.cards), [drawing["title"] for drawing in drawings if not drawing["is_row"]])
        for title, card in page.cards.items():
            with self.subTest(title):
                self.assertGreater(max(card["points"], default=0), 1, "a line")
                self.assertEqual(len(set(card["legend"])), len(card["legend"]), f"names of their own: {card['legend']}")
                self.assertNotIn("", card["legend"])

    def test_each_alert_has_an_opinion(self):
        """With `bool` a comparison gives 0 or 1 where it would give nothing."""
        for rule in alerts():
            if "latentd_certificate" in rule["expr"]:
                continue  # exported by daemons that have certificates; alerts.test.yml plays them
            with self.subTest(rule["alert"]):
                expression, count = COMPARISON.subn(r" \1 bool ", rule["expr"])
                self.assertGreater(count, 0, rule["expr"])
                self.assertTrue(self.values(expression), expression)

    def test_prometheus_evaluates_each_rule(self):
        with urllib.request.urlopen(f"http://{self.prometheus.address}/api/v1/rules") as page:
            rules = [rule for group in json.load(page)["data"]["groups"] for rule in group["rules"]]
        self.assertGreaterEqual(len(rules), len(alerts()) + 9)
        self.assertEqual([rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")], [])

    def test_no_alert_of_a_fault_was_even_pending(self):
        load = "QueueGrows|CacheFull|PreemptionStorm|RefusesForLoad|FirstToken.*"
        self.assertEqual(self.values(f'ALERTS{{alertname!~"Latentd({load})"}}'), [])

    def test_laws_hold_in_what_was_scraped(self):
        names = '{__name__=~"latentd_.*", __name__!~".*_bucket|latentd_config_info"}'
        seen = set()
        for moment in self.moments():
            samples = {}
            for series in self.prometheus.query(names, time=moment):
                labels = {key: value for key, value in series["metric"].items() if key not in ("job", "instance")}
                name = labels.pop("__name__")
                samples[name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"] = \
                    float(series["value"][1])
            self.assertEqual(laws.violations(samples), [], f"at {moment}, seed {LOAD_SEED}")
            seen.add(laws.Scrape(samples).sum("generated_tokens_total"))
        self.assertGreaterEqual(len(seen), MIN_SCRAPES // 2, "the daemon was busy in many of the scrapes")

    def test_prometheus_counts_what_clients_saw(self):
        for code in ("OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"):
            counted = self.prometheus.value(f'sum(latentd_requests_finished_total{{grpc_code="{code}"}})')
            # A client that cancels may do so after the end.
            self.assertIn(counted - self.codes[code], range(self.codes["CANCELLED"] + 1), code)
        self.assertGreater(self.codes["OK"], 0)
        self.assertGreater(self.codes["RESOURCE_EXHAUSTED"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
