"""Prometheus' rules and Grafana's dashboard: alerts fire and do not, expressions are about series that exist."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
METRIC = re.compile(r"\b(?:latentd|process)_[a-z0-9_]+")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def rules(file):
    groups = yaml.safe_load((PROMETHEUS / "rules" / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((GRAFANA / "latentd.json").read_text())


def targets():
    """(panel, expression) with values in the place of the dashboard's variables."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*")
            yield panel["title"], expression.replace("$instance", ".*")


def exported_metrics():
    """Names of samples, from the page that the code prints."""
    names = {"up"}
    for name, kind in re.findall(r"^\| `([a-z_]+)` \| (\w+) ", (ROOT / "deploy/METRICS.md").read_text(), re.M):
        names.update({f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name})
    return names


class AlertsTest(unittest.TestCase):
    def test_promtool_takes_the_configuration(self):
        done = run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_fires_and_does_not_fire(self):
        done = run("promtool", "test", "rules", str(PROMETHEUS / "alerts.test.yml"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        checks = [check for test in yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
                  for check in test["promql_expr_test"]]
        for rule in rules("alerts.yml"):
            about = [check for check in checks if f'alertname="{rule["alert"]}"' in check["expr"]]
            self.assertTrue(any(check["exp_samples"] for check in about), f"{rule['alert']} is never seen to fire")
            self.assertTrue(any(not check["exp_samples"] for check in about),
                            f"{rule['alert']} is never seen not to fire")

    def test_an_alert_that_always_or_never_fires_fails_its_test(self):
        names = {rule["alert"] for rule in rules("alerts.yml")}
        for expression in ("vector(1) < 0", "vector(1)"):
            with tempfile.TemporaryDirectory() as folder:
                copy = pathlib.Path(folder) / "prometheus"
                shutil.copytree(PROMETHEUS, copy)
                mutants = [{**rule, "expr": expression, "for": "0s"} for rule in rules("alerts.yml")]
                (copy / "rules/alerts.yml").write_text(
                    yaml.safe_dump({"groups": [{"name": "mutants", "rules": mutants}]}))
                done = run("promtool", "test", "rules", str(copy / "alerts.test.yml"))
                failed = set(re.findall(r'alertname=\\?"(\w+)', done.stdout + done.stderr))
                self.assertEqual(failed, names, expression)

    def test_each_alert_says_what_to_do(self):
        for rule in rules("alerts.yml"):
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"), rule["alert"])
            self.assertEqual(set(rule["annotations"]), {"summary", "runbook"}, rule["alert"])
            self.assertGreater(len(rule["annotations"]["runbook"].split()), 15, rule["alert"])
            for other in re.findall(r"\bLatentd[A-Z]\w+", rule["annotations"]["runbook"]):
                self.assertIn(other, {rule["alert"] for rule in rules("alerts.yml")})

    def test_runbooks_name_knobs_and_series_that_exist(self):
        knobs = set(re.findall(r"`([a-z-]+)`", (ROOT / "docs/operating.md").read_text()))
        for rule in rules("alerts.yml"):
            text = rule["annotations"]["runbook"]
            for name in METRIC.findall(text):
                self.assertTrue({name, f"{name}_count"} & exported_metrics(), f"{rule['alert']}: {name}")
            for knob in re.findall(r"\b(?:max|kv|drain|stall|tls)-[a-z-]+", text):
                self.assertIn(knob, knobs | {"max-priority"}, rule["alert"])


class SeriesTest(unittest.TestCase):
    def test_each_rule_and_panel_is_about_series_that_are_exported_or_recorded(self):
        recorded = {rule["record"] for rule in rules("recording.yml")}
        expressions = [(rule.get("alert", rule.get("record")), rule["expr"])
                       for file in ("alerts.yml", "recording.yml") for rule in rules(file)]
        for title, expression in [*expressions, *targets()]:
            found = re.findall(r"\b(?:instance|job):[a-z0-9_:]+", expression)
            self.assertLessEqual(set(found), recorded, title)
            for name in found:
                expression = expression.replace(name, "")
            self.assertLessEqual(set(METRIC.findall(expression)), exported_metrics(), title)

    def test_reasons_that_rules_and_panels_name_are_those_of_the_daemon(self):
        page = (ROOT / "deploy/METRICS.md").read_text()
        reasons = set(re.search(r"^Values of `reason`: (.*)\.$", page, re.M)[1].split(", "))
        for text in [(PROMETHEUS / "rules/recording.yml").read_text(), (GRAFANA / "latentd.json").read_text()]:
            named = {reason for match in re.findall(r'reason=~\\?"([A-Z_|]+)', text) for reason in match.split("|")}
            self.assertTrue(named)
            self.assertLessEqual(named, reasons)


class DashboardTest(unittest.TestCase):
    def test_is_what_its_program_prints(self):
        printed = run(sys.executable, "-B", str(GRAFANA / "make_dashboard.py")).stdout
        self.assertEqual(printed, (GRAFANA / "latentd.json").read_text(),
                         "run: deploy/grafana/make_dashboard.py > deploy/grafana/latentd.json")

    def test_promtool_parses_each_expression(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": [
                {"record": f"panel:{index}", "expr": expression} for index, (_, expression) in enumerate(targets())]}]},
                file)
            file.flush()
            done = run("promtool", "check", "rules", file.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_panels_do_not_overlap_and_their_names_differ(self):
        taken, panels = set(), dashboard()["panels"]
        for panel in panels:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))


if __name__ == "__main__":
    unittest.main(verbosity=2)
