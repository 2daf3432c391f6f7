"""The page that `latentctl load --html` writes, as a browser shows it. SKIPPED where there is no Chromium. 20 s."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import browser
import load_run
from daemon import BIN, MODEL, PATIENCE_SECONDS, Daemon

LATENCIES = ["time to first token", "time to second token", "inter-token latency", "time per output token",
             "end to end"]
WIDE, NARROW = 1280, 420
# An image that does not exist would push a problem, were it made.
HOSTILE = "<img src=x onerror=problems.push('ran')>"


# What the probe of browser.py must find, by a word of its complaint.
WRONG = """<!DOCTYPE html><html><head></head><body><div class="card"><h2>A</h2>
<svg viewBox="0 0 100 50"><path d="M0 0L200 10"/><text x="10" y="20">over</text><text x="12" y="21">here</text>
<circle cx="NaN" cy="5" r="1"/></svg></div><div style="width:3000px">wide</div><p>NaN</p>
<script>nothing.at.all;</script></body></html>"""
COMPLAINTS = ["leaves its plot", "is written over", 'cx="NaN"', "leaves the page", "a figure that is none", "nothing"]


@browser.needs_browser
class ReportPageTest(unittest.TestCase):
    def look(self, load, name, **more):
        page = browser.look(load.html, name, **more)
        self.assertEqual(page.problems, [])
        return page

    def check_plots(self, page, report):
        for title in ("Latency by percentile", "Distribution of latencies"):
            card = page.cards[title]
            self.assertEqual(card["legend"], LATENCIES)
            self.assertEqual(len(card["points"]), len(LATENCIES), title)
            self.assertGreater(min(card["points"]), 1, title)
        for title, names in (("Tokens per second", ["output tokens"]), ("Requests per second", ["sent", "ended"])):
            self.assertEqual(page.cards[title]["legend"], names)
            for points in page.cards[title]["points"]:
                self.assertIn(points, (2 * len(report["timeline"]), 2 * len(report["timeline"]) - 2), title)
        self.assertEqual(len(page.cards["Latency over time"]["points"]), 4)

    def check_tables(self, page, report):
        statuses = page.cards["Statuses"]["text"]
        for status in report["statuses"]:
            self.assertIn(f"{status['code']}\t{status['reason'] or '–'}\t{status['count']:,}", statuses)
        self.assertEqual(page.cards["Checks"]["rows"], len(report["checks"]))
        for name in (*LATENCIES, "server: queue", "server: prefill", "server: decode", "client's own lag"):
            self.assertIn(f"\n{name}\t", page.cards["Latencies"]["text"])
        figures = {name: value for value, name in page.figures}
        self.assertEqual(figures["output tokens/s"], f"{report['throughput']['output_tokens_per_second']:,.0f}")
        self.assertEqual(figures["requests/s"], f"{report['throughput']['requests_per_second']:,.1f}")

    def test_open_loop_with_cancels_and_deadlines(self):
        with Daemon() as server:
            load = load_run.run(server.address, "--rate", "60", "--duration", "4", "--adversaries",
                                "cancel:0.2,deadline:0.1", "--slo", "ttft=0.2,tpot=0.05", "--check",
                                "--max-lag", "10", "--metrics", server.metrics_address)
        self.assertEqual(load.code, 0, load.table)
        page = self.look(load, "load-report", width=WIDE)
        self.check_plots(page, load.report)
        self.check_tables(page, load.report)
        self.assertTrue(page.text.startswith("tiny-tales under load\nopen loop, 60 requests/s"))
        self.assertIn("\npassed\n", page.text)
        narrow = self.look(load, "load-report-narrow", width=NARROW, height=7600)
        self.assertEqual(narrow.cards.keys(), page.cards.keys())
        left = {card["box"]["x"] for card in narrow.cards.values()}
        self.assertEqual(len(left), 1, "one below the other")

    def test_failed_run_says_so_and_a_name_is_text(self):
        """One runs, one waits, all others are refused; the model's name has what a page must not take for its own."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / HOSTILE
        shutil.copytree(MODEL, folder)
        with Daemon("--max-started", "1", "--max-queued-requests", "1", model=folder) as server:
            load = load_run.run(server.address, "--requests", "100", "--concurrency", "16")
        self.assertEqual(load.code, 1)
        page = self.look(load, "load-report-failed")
        self.assertIn("\nFAILED\n", page.text)
        self.assertTrue(page.text.startswith(f"{HOSTILE} under load\nclosed loop, concurrency 16"))
        refused, = (status for status in load.report["statuses"] if status["reason"] == "QUEUE_FULL")
        row = f"RESOURCE_EXHAUSTED\tQUEUE_FULL\t{refused['count']}\t{refused['count']}"
        self.assertIn(row, page.cards["Statuses"]["text"])
        self.assertIn(refused["example"], page.cards["Statuses"]["text"])

    def test_tenants_and_adversaries_have_their_tables(self):
        with Daemon() as server:
            load = load_run.run(server.address, "--rate", "60", "--duration", "2", "--half-open", "2", "--adversaries",
                                "cancel:0.1,request:0.2", "--tenants", "first:0.7,second:0.3", "--max-lag", "10")
        self.assertEqual(load.code, 0, load.table)
        page = self.look(load, "load-report-tenants")
        for tenant in ("first", "second"):
            self.assertIn(f"\n{tenant}\t", page.cards["Tenants"]["text"])
        for entry in load.report["adversaries"]:
            self.assertIn(f"\n{entry['name']}\t{entry['sent']}\t0\t", page.cards["Adversaries"]["text"])
        self.assertIn("\nhalf-open connections\t2\t", page.cards["Adversaries"]["text"])

    def test_sweep_shows_its_levels(self):
        page_file = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "sweep.html"
        with Daemon() as server:
            sweep = subprocess.run([BIN / "latentctl", "load", "sweep", "--server", server.address, "--levels", "1:4",
                                    "--requests", "20", "--html", page_file], capture_output=True, text=True,
                                   stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)
        self.assertEqual(sweep.returncode, 0, sweep.stderr)
        page = browser.look(page_file.read_text(), "load-sweep", height=3000)
        self.assertEqual(page.problems, [])
        levels, = (card for title, card in page.cards.items() if title.startswith("Sweep: "))
        self.assertGreaterEqual(levels["rows"], 1 + 3, "1, 2 and 4 streams")
        plot = page.cards["Rate against latency, by level"]
        self.assertEqual(len(plot["points"]), 3)
        self.assertGreaterEqual(min(plot["points"]), 3)

    def test_probe_finds_what_lies_wrong(self):
        problems = browser.look(WRONG, "wrong").problems
        for complaint in COMPLAINTS:
            self.assertTrue(any(complaint in problem for problem in problems), f"{complaint} in {problems}")

    def test_one_request_has_a_page_too(self):
        with Daemon() as server:
            load = load_run.run(server.address, "--requests", "1", "--concurrency", "1")
        self.assertEqual(load.code, 0)
        self.check_plots(self.look(load, "load-report-single"), load.report)


if __name__ == "__main__":
    unittest.main(verbosity=2)
