"""latentctl load's workloads, sweeps, comparisons and adversaries against the real daemon."""
import csv
import json
import pathlib
import subprocess
import tempfile
import unittest

from load_run import BIN, Load, daemon, run
from daemon import wait_until
import page

# The tests are not about the speed of the machine: a client that gets little CPU still measures what it should.
PATIENT = ("--max-lag", "30")


class WorkloadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as tenants:
            tenants.write("[[tenant]]\nname = \"b\"\nweight = 3\n")
            tenants.flush()
            cls.server = daemon.Daemon("--tenants", tenants.name).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def good_run(self, *flags):
        load = run(self.server.address, "--check", "--metrics", self.server.metrics_address, *flags)
        self.assertEqual(load.code, 0, load.errors + load.table)
        return load.report

    def test_turn_finds_the_conversation_in_the_cache(self):
        report = self.good_run("--turns", "3", "--requests", "12", "--concurrency", "2", "--prompt-tokens", "70",
                               "--output-tokens", "70", "--seed", "3", "--max-drafts", "0")
        self.assertEqual(report["requests"]["succeeded"], 12)
        # 70, 210 and 350 tokens; all of a turn but its last token, which was never put in, is found again by the next.
        # A draft that is right was put in.
        self.assertEqual((report["cache"]["prompt_tokens"], report["cache"]["cached_tokens"]),
                         (4 * 630, 4 * (139 + 279)))

    def test_group_shares_its_prefix(self):
        report = self.good_run("--prefix-tokens", "128", "--prefix-groups", "2", "--prompt-tokens", "20", "--requests",
                               "20", "--concurrency", "1", "--output-tokens", "4", "--seed", "4")
        self.assertEqual(report["cache"]["cached_tokens"], 18 * 128)
        self.assertEqual(sum(second["cached_tokens"] for second in report["timeline"]), 18 * 128)

    def test_trace_is_replayed_with_its_shared_blocks(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for number in range(8):
                file.write(f'{{"timestamp": {1000 + number * 20}, "input_length": 1100, "output_length": 80, '
                           f'"hash_ids": [5, 6, {100 + number}]}}\n')
            file.flush()
            report = self.good_run("--trace", file.name, "--trace-block-tokens", "64", "--rate", "4", *PATIENT)
        self.assertEqual((report["requests"]["succeeded"], report["cache"]["prompt_tokens"]), (8, 8 * 138))
        self.assertGreaterEqual(report["cache"]["cached_tokens"], 128)
        self.assertEqual(sum(second["output_tokens"] for second in report["timeline"]), 8 * 10)
        self.assertGreaterEqual(report["seconds"], 1.75, "seven gaps at four a second")

    def test_tenants_are_served_by_weight_and_told_apart(self):
        report = self.good_run("--tenants", "a:1:1,b:1:3", "--priorities", "-1:1,1:1", "--concurrency", "8",
                               "--requests", "80", "--output-tokens", "8:2", "--slo", "e2e=600")
        self.assertEqual([(tenant["name"], tenant["weight"], tenant["goodput"]["fraction"])
                          for tenant in report["tenants"]], [("a", 1, 1), ("b", 3, 1)])
        self.assertEqual(sum(tenant["sent"] for tenant in report["tenants"]), 80)
        self.assertTrue(0.5 <= report["fairness"] <= 1, report["fairness"])
        self.assertGreater(self.server.sum("requests_received_total"), 80)

    def test_ramp_sends_what_its_rates_come_to(self):
        load = run(self.server.address, "--rate", "10:50", "--arrival", "constant", "--duration", "2",
                   "--output-tokens", "4", *PATIENT)
        self.assertEqual((load.code, load.report["requests"]["sent"]), (0, 60), load.errors + load.table)
        first, second = load.report["timeline"][0]["sent"], load.report["timeline"][1]["sent"]
        self.assertLess(first, second)


class ComparisonTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = daemon.Daemon().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def compare(self, *arguments):
        return subprocess.run([BIN / "latentctl", "load", "compare", *arguments], capture_output=True, text=True)

    def test_gates_decide_over_the_exit_code(self):
        flags = ("--output-tokens", "8", "--requests", "20", *PATIENT)
        with Load(self.server.address, "--rate", "50", *flags) as first, Load(self.server.address, *flags) as second:
            self.assertEqual((first.finish().code, second.finish().code), (0, 0))
            files = (first.json_file, second.json_file)
            good = self.compare(*files, "--gate", "succeeded>=1x", "--gate", "unexpected<=0", "--gate", "ttft.p99<=600")
            self.assertEqual(good.returncode, 0, good.stderr)
            self.assertIn("gate succeeded 1x holds: expected at least 20, found 20", good.stdout)
            bad = self.compare(*files, "--gate", "succeeded>=1.05x")
            self.assertEqual(bad.returncode, 1)
            self.assertIn("gate succeeded 1.05x FAILED: expected at least 21, found 20", bad.stdout)
            unknown = self.compare(*files, "--gate", "ttft.p42<=1x")
            self.assertEqual(unknown.returncode, 1)
            self.assertIn('"ttft.p42"; it has', unknown.stderr)
            self.assertEqual(self.compare(files[0], "/nowhere").returncode, 1)

    def test_sweep_runs_each_level_and_names_the_knee(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            files = [pathlib.Path(folder) / name for name in ("sweep.json", "sweep.csv", "sweep.html")]
            sweep = subprocess.run(
                [BIN / "latentctl", "load", "sweep", "--server", self.server.address, "--levels", "1:4", "--requests",
                 "16", "--output-tokens", "8", "--json", files[0], "--csv", files[1], "--html", files[2]],
                capture_output=True, text=True)
            self.assertEqual(sweep.returncode, 0, sweep.stderr)
            self.assertRegex(sweep.stdout, r"knee at [1-4] streams: ")
            report = json.loads(files[0].read_text())
            levels = [level["level"] for level in report["levels"]]
            self.assertEqual(levels[:3], [1, 2, 4])
            self.assertEqual([level["report"]["requests"]["succeeded"] for level in report["levels"]],
                             [16] * len(levels))
            self.assertEqual(len({level["report"]["seed"] for level in report["levels"]}), len(levels))
            best = max(report["levels"], key=lambda level: level["power"])
            self.assertEqual(report["levels"][report["found"]], best)
            rows = list(csv.DictReader(files[1].read_text().splitlines()))
            self.assertEqual([float(row["level"]) for row in rows], levels)
            if not page.has_node():
                print("SKIPPED what the page draws: no node to run its script")
                return
            drawn = page.drawn(files[2].read_text())
            for title in ("Rate against latency, by level", "Sweep: knee at", "Latency by percentile"):
                self.assertTrue(title in drawn, title)

    def test_goodput_search_wants_objectives(self):
        sweep = subprocess.run([BIN / "latentctl", "load", "sweep", "--server", self.server.address,
                                "--find-max-goodput", "0.9"], capture_output=True, text=True)
        self.assertEqual(sweep.returncode, 1)
        self.assertIn("--slo", sweep.stderr)

    def test_goodput_search_ends_where_no_level_is_good(self):
        sweep = subprocess.run([BIN / "latentctl", "load", "sweep", "--server", self.server.address, "--over", "rate",
                                "--levels", "50:100", "--requests", "5", "--find-max-goodput", "0.9", "--slo",
                                "ttft=1e-9"], capture_output=True, text=True)
        self.assertEqual(sweep.returncode, 0, sweep.stderr)
        self.assertIn("no level has the goodput of 0.9", sweep.stdout)


class AdversaryTest(unittest.TestCase):
    def test_each_kind_ends_as_it_may_and_leaves_nothing(self):
        with daemon.Daemon("--slow-consumer-seconds", "1", "--max-pending-bytes", "4096") as server:
            files = server.num_files()
            with tempfile.NamedTemporaryFile("r", suffix=".csv") as table:
                load = run(server.address, "--concurrency", "12", "--requests", "160", "--output-tokens", "60",
                           "--adversaries", "all:0.5", "--deadline-seconds", "0.01:0.1", "--half-open", "4",
                           "--tenants", "a:1,b:1", "--check", "--metrics", server.metrics_address,
                           "--csv", table.name, "--seed", "11")
                rows = list(csv.DictReader(table))
            self.assertEqual(load.code, 0, load.errors + load.table)
            report = load.report
            kinds = {entry["name"]: entry for entry in report["adversaries"]}
            self.assertEqual(len(kinds), 10, kinds)
            self.assertEqual(sum(entry["unexpected"] for entry in kinds.values()), 0)
            self.assertEqual(set(kinds["malformed"]["ends"]), {"INVALID_ARGUMENT INVALID_FIELD"})
            self.assertEqual(set(kinds["oversize"]["ends"]),
                             {"INVALID_ARGUMENT CONTEXT_LENGTH_EXCEEDED", "RESOURCE_EXHAUSTED MESSAGE_TOO_LARGE"})
            self.assertGreater(server.sum("requests_finished_total", reason="SLOW_CONSUMER"), 0)
            self.assertIn("CANCELLED", kinds["cancel-decode"]["ends"])
            self.assertEqual(report["half_open"], {"opened": 4, "closed_by_server": 0})
            self.assertEqual(len(rows), 160)
            self.assertEqual(sum(row["behaviour"] == "well-behaved" for row in rows),
                             160 - sum(entry["sent"] for entry in kinds.values()))
            self.assertEqual(sum(tenant["sent"] for tenant in report["tenants"]),
                             sum(row["behaviour"] == "well-behaved" for row in rows))
            server.wait_until_idle()
            wait_until(lambda: server.num_files() <= files, "every connection is closed")
            if not page.has_node():
                print("SKIPPED what the page draws: no node to run its script")
                return
            drawn = page.drawn(load.html)
            for title in ("Tenants", "Adversaries", "half-open connections", "Statuses", "Prompt tokens per second",
                          "Distribution of latencies", "Rate against latency"):
                self.assertTrue(title in drawn, title)

    def test_probe_is_measured_and_counted_apart(self):
        with daemon.Daemon() as server:
            load = run(server.address, "--requests", "40", "--probe", "--tenants", "a:1", "--check", "--metrics",
                       server.metrics_address)
            self.assertEqual(load.code, 0, load.errors + load.table)
            self.assertEqual(load.report["requests"]["sent"], 40)
            probe = load.report["probe"]
            self.assertGreater(probe["requests"]["succeeded"], 0)
            self.assertGreater(probe["latency_seconds"]["inter_token_latency"]["count"], 0)
            self.assertEqual(probe["requests"]["unexpected"], 0)
            self.assertIn("probe: ", load.table)

    def test_unknown_kind_names_those_that_are(self):
        load = run("127.0.0.1:1", "--adversaries", "pirates:0.1")
        self.assertEqual(load.code, 1)
        self.assertIn("names are all, cancel, cancel-queued", load.errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
