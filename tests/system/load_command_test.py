"""latentctl load against the real daemon: both loops, what it reports and checks, and when it is not to be believed."""
import http.server
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from load_run import Load, daemon, run
from daemon import wait_until

STALL_SECONDS = 2
# The tests are not about the speed of the machine: a client that gets little CPU still measures what it should.
PATIENT = ("--max-lag", "30")


class FakeMetrics:
    """Serves a page of metrics that never changes: a server that counts nothing."""

    def __init__(self, page):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = page.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


COUNTS_NOTHING = """latentd_requests_in_flight{phase="queued"} 0
latentd_requests_received_total{method="Generate"} 0
latentd_requests_finished_total{method="Generate",grpc_code="OK",reason="MAX_TOKENS"} 0
latentd_prompt_tokens_total{source="computed"} 0
latentd_generated_tokens_total{outcome="delivered"} 0
"""


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = daemon.Daemon().__enter__()
        cls.closed = run(cls.server.address, "--concurrency", "4", "--requests", "40", "--prompt-tokens", "16",
                         "--output-tokens", "12", "--seed", "5", "--slo", "ttft=600,e2e=600")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def test_closed_loop_sends_what_it_was_told(self):
        report = self.closed.report
        self.assertEqual(self.closed.code, 0, self.closed.errors + self.closed.table)
        self.assertEqual(report["requests"], {"sent": 40, "measured": 40, "succeeded": 40, "unexpected": 0})
        self.assertEqual([(s["code"], s["reason"], s["count"]) for s in report["statuses"]], [("OK", "MAX_TOKENS", 40)])
        self.assertEqual(sum(second["output_tokens"] for second in report["timeline"]), 40 * 12)
        self.assertEqual(sum(second["sent"] for second in report["timeline"]), 40)

    def test_every_sample_is_in_its_histogram(self):
        latencies = self.closed.report["latency_seconds"]
        expected = {"time_to_first_token": 40, "time_to_second_token": 40, "inter_token_latency": 40 * 11,
                    "time_per_output_token": 40, "end_to_end": 40}
        for name, count in expected.items():
            self.assertEqual(latencies[name]["count"], count, name)
            self.assertEqual(sum(bucket[2] for bucket in latencies[name]["buckets_ns"]), count, name)
            ascending = [latencies[name][p] for p in ("min", "p50", "p90", "p95", "p99", "p99.9", "max")]
            self.assertEqual(ascending, sorted(ascending), name)
        self.assertLessEqual(latencies["time_to_first_token"]["p50"], latencies["end_to_end"]["p50"])
        for name in ("queue", "prefill", "decode"):
            self.assertEqual(self.closed.report["server_timing_seconds"][name]["count"], 40)

    def test_json_is_versioned_and_whole(self):
        report = self.closed.report
        self.assertEqual((report["schema"], report["seed"], report["valid"], report["passed"]),
                         ("latentd-load/1", 5, True, True))
        self.assertEqual(report["parameters"]["run"]["concurrency"], 4)
        self.assertEqual(report["model"]["fingerprint"], self.server.models.GetModel(
            daemon.models_pb2.GetModelRequest()).fingerprint)
        self.assertGreater(report["client_cpu"]["seconds_per_token"], 0)
        self.assertGreater(report["client_cpu"]["seconds_per_message"], 0)
        self.assertGreater(report["throughput"]["output_tokens_per_second"], 0)
        self.assertEqual((report["goodput"]["eligible"], report["goodput"]["fraction"]), (40, 1.0))

    def test_page_is_self_contained(self):
        self.assertIn("<script", self.closed.html)
        self.assertIn('"schema": "latentd-load/1"', self.closed.html)
        for foreign in ("http:", "https:", " src=", " href=", "@import", "url("):
            self.assertNotIn(foreign, self.closed.html)

    def test_table_has_the_seed_and_the_percentiles_and_nothing_is_on_stderr(self):
        self.assertIn("seed 5", self.closed.table)
        self.assertRegex(self.closed.table, r"p50 +p90 +p95 +p99 +p99\.9 +max")
        self.assertRegex(self.closed.table, r"client CPU .* us per token, .* us per message")
        self.assertEqual(self.closed.errors, "", "no progress line where stderr is no terminal")

    def test_missed_objective_is_no_goodput(self):
        load = run(self.server.address, "--requests", "5", "--slo", "ttft=1e-9")
        self.assertEqual((load.code, load.report["goodput"]["good"]), (0, 0))

    def test_warm_up_is_left_out_of_the_statistics(self):
        load = run(self.server.address, "--rate", "40", "--arrival", "constant", "--requests", "40", "--warmup", "0.5",
                   "--output-tokens", "4", "--duration", "10", *PATIENT)
        self.assertEqual((load.report["requests"]["sent"], load.report["requests"]["measured"]), (40, 20))
        self.assertEqual(load.report["latency_seconds"]["time_to_first_token"]["count"], 20)

    def test_open_loop_sends_at_its_rate_over_all_connections(self):
        load = run(self.server.address, "--rate", "50", "--arrival", "constant", "--duration", "2", "--connections",
                   "4", "--client-threads", "2", "--output-tokens", "8", *PATIENT)
        self.assertEqual(load.code, 0, load.errors + load.table)
        self.assertEqual(load.report["requests"]["succeeded"], 100)
        self.assertEqual(load.report["lag_seconds"]["count"], 100)

    def test_connections_are_distinct(self):
        def num_received():
            return self.server.sum("requests_received_total", method="Generate")

        before, received = self.server.num_files(), num_received()
        with Load(self.server.address, "--connections", "8", "--concurrency", "1", "--duration", "300") as load:
            wait_until(lambda: self.server.num_files() >= before + 8, "the server has eight connections more")
            wait_until(lambda: num_received() > received, "the run is under way")
            load.process.send_signal(signal.SIGINT)
            load.finish()
        self.assertEqual(load.code, 0, load.errors + load.table)

    def test_seed_reproduces_the_load(self):
        flags = ("--requests", "12", "--output-tokens", "16", "--check", "--check-requests", "12")
        first = run(self.server.address, *flags, "--seed", "9", "--concurrency", "1", "--prompt-tokens", "20:5")
        again = run(self.server.address, *flags, "--seed", "9", "--concurrency", "6", "--prompt-tokens", "20:5")
        other = run(self.server.address, *flags, "--seed", "10", "--concurrency", "6", "--prompt-tokens", "20:5")
        self.assertEqual((first.code, again.code, other.code), (0, 0, 0))
        rates = [load.report["throughput"] for load in (first, again, other)]
        prompts = [round(rate["input_tokens_per_second"] * rate["window_seconds"]) for rate in rates]
        self.assertEqual(prompts[0], prompts[1])
        self.assertNotEqual(prompts[0], prompts[2])

    def test_jsonl_and_texts_are_workloads(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write('{"prompt": "Once upon a time", "max_tokens": 5}\n'
                       '{"token_ids": [5, 6, 7], "max_tokens": 7, "sampling": {"temperature": 0}}\n')
            file.flush()
            load = run(self.server.address, "--jsonl", file.name, "--requests", "10", "--check")
            self.assertEqual(load.code, 0, load.errors + load.table)
            self.assertEqual(sum(second["output_tokens"] for second in load.report["timeline"]), 5 * 5 + 5 * 7)
            file.write('{"prompt": 3}\n')
            file.flush()
            load = run(self.server.address, "--jsonl", file.name, "--requests", "10")
            self.assertEqual(load.code, 1)
            self.assertIn(f"{file.name}:3: prompt: expected a string", load.errors)
        load = run(self.server.address, "--text", "The king said", "--requests", "3", "--no-ignore-eos")
        self.assertEqual(load.code, 0, load.errors + load.table)

    def test_refused_requests_fail_the_run_and_are_in_the_table(self):
        load = run(self.server.address, "--requests", "4", "--text", "x" * 20000, "--output-tokens", "1")
        self.assertEqual(load.code, 1)
        [status] = load.report["statuses"]
        self.assertEqual((status["code"], status["reason"], status["count"], status["unexpected"]),
                         ("INVALID_ARGUMENT", "CONTEXT_LENGTH_EXCEEDED", 4, 4))
        self.assertIn("CONTEXT_LENGTH_EXCEEDED", load.table)
        self.assertFalse(load.report["passed"])

    def test_unknown_server_is_a_clear_error(self):
        load = run("127.0.0.1:1", "--requests", "1")
        self.assertEqual(load.code, 1)
        self.assertIn("expected a latentd at 127.0.0.1:1, found none", load.errors)

    def test_bad_values_name_their_flag(self):
        for flags, word in ((["--prompt-tokens", "x"], "--prompt-tokens"), (["--slo", "x=1"], "--slo"),
                            (["--concurrency", "0"], "--concurrency"), (["--rate", "0"], "--rate"),
                            (["--prompt-tokens", "4000"], "context of 2048")):
            load = run(self.server.address, *flags)
            self.assertEqual(load.code, 1, flags)
            self.assertIn(word, load.errors)


class CheckTest(unittest.TestCase):
    def test_check_passes_with_cancels_and_deadlines(self):
        with daemon.Daemon() as server:
            load = run(server.address, "--concurrency", "32", "--requests", "300", "--prompt-tokens", "40:15",
                       "--output-tokens", "40:15", "--adversaries", "cancel:0.2,deadline:0.1",
                       "--deadline-seconds", "0.005:0.1", "--connections", "3", "--check", "--metrics",
                       server.metrics_address, "--seed", "20240612")
            self.assertEqual(load.code, 0, load.errors + load.table)
            verdicts = {name: verdict for name, (verdict, _) in load.outcomes().items()}
            self.assertEqual(set(verdicts.values()), {"passed"}, load.table)
            self.assertEqual(set(verdicts), {
                "stream grammar", "same bytes as alone", "accounts: requests received", "accounts: requests finished",
                "accounts: requests finished OK", "accounts: prompt tokens", "accounts: delivered tokens"})
            whole, cut = map(int, re.findall(r"\d+", load.outcomes()["same bytes as alone"][1]))
            self.assertEqual(whole + cut, 64)
            self.assertGreater(cut, 0)
            codes = {status["code"]: status["count"] for status in load.report["statuses"]}
            self.assertGreater(codes["CANCELLED"], 0)
            self.assertGreater(codes["DEADLINE_EXCEEDED"], 0)
            self.assertEqual(load.report["requests"]["unexpected"], 0)
            server.wait_until_idle()

    def test_accounts_are_exact_where_nothing_is_cut(self):
        with daemon.Daemon() as server:
            load = run(server.address, "--requests", "30", "--output-tokens", "10", "--prompt-tokens", "20", "--check",
                       "--metrics", server.metrics_address)
            self.assertEqual(load.code, 0, load.errors + load.table)
            self.assertEqual(load.outcomes()["accounts: delivered tokens"][1],
                             "expected 300 from what the client saw, the server counted 300")
            self.assertEqual(load.outcomes()["accounts: prompt tokens"][1],
                             "expected 600 from what the client saw, the server counted 600")

    def test_check_without_metrics_says_what_it_skipped(self):
        with daemon.Daemon() as server:
            load = run(server.address, "--requests", "3", "--check")
            self.assertEqual((load.code, load.outcomes()["accounts"][0]), (0, "skipped"))
            self.assertIn("SKIPPED", load.table)

    def test_check_fails_against_the_metrics_of_a_server_that_counts_nothing(self):
        with daemon.Daemon() as server, FakeMetrics(COUNTS_NOTHING) as metrics:
            load = run(server.address, "--requests", "3", "--output-tokens", "5", "--check", "--metrics",
                       metrics.address)
            self.assertEqual(load.code, 1)
            self.assertEqual(load.outcomes()["accounts: delivered tokens"],
                             ("failed", "expected 15 from what the client saw, the server counted 0"))
            self.assertIn("FAILED", load.table)

    def test_metrics_that_are_none_end_the_run_before_it_begins(self):
        with daemon.Daemon() as server, FakeMetrics("other 1\n") as metrics:
            load = run(server.address, "--requests", "3", "--check", "--metrics", metrics.address)
            self.assertEqual(load.code, 1)
            self.assertIn("latentd_requests_in_flight", load.errors)
            self.assertEqual(server.sum("requests_received_total", method="Generate"), 0)
            load = run(server.address, "--requests", "3", "--check", "--metrics", "127.0.0.1:1")
            self.assertEqual(load.code, 1)
            self.assertIn("http://127.0.0.1:1/metrics", load.errors)


class StallTest(unittest.TestCase):
    """Stops a process with SIGSTOP in the middle of an open-loop run of 60 requests per second."""

    FLAGS = ("--rate", "60", "--arrival", "constant", "--duration", "6", "--output-tokens", "4", "--prompt-tokens", "8")

    @staticmethod
    def stop_for_a_while(process, server):
        wait_until(lambda: server.sum("requests_received_total", method="Generate") >= 60, "the run is under way")
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(STALL_SECONDS)  # the stall itself
        process.send_signal(signal.SIGCONT)

    def test_stall_of_the_server_is_in_the_latency_and_not_in_the_lag(self):
        with daemon.Daemon("--max-queued-requests", "1000") as server:
            # A client that waited for the server would lag by the whole stall.
            with Load(server.address, *self.FLAGS, "--max-lag", "1", "--connections", "2") as load:
                self.stop_for_a_while(server.process, server)
                load.finish()
            self.assertEqual(load.code, 0, load.errors + load.table)
            self.assertEqual(load.report["requests"]["sent"], 360, "what was intended was sent")
            self.assertEqual(load.report["requests"]["succeeded"], 360)
            self.assertTrue(load.report["valid"])
            for name in ("time_to_first_token", "end_to_end"):
                self.assertGreaterEqual(load.report["latency_seconds"][name]["p99"], 0.75 * STALL_SECONDS, name)
            # A third of the run's requests were intended during the stall and waited for half of it on average.
            self.assertGreaterEqual(load.report["latency_seconds"]["end_to_end"]["p90"], 0.5 * STALL_SECONDS)

    def test_stall_of_the_client_makes_the_run_invalid(self):
        with daemon.Daemon("--max-queued-requests", "1000") as server:
            with Load(server.address, *self.FLAGS) as load:
                self.stop_for_a_while(load.process, server)
                load.finish()
            self.assertEqual(load.code, 2, load.errors + load.table)
            self.assertEqual(load.report["requests"]["succeeded"], 360)
            self.assertFalse(load.report["valid"])
            self.assertIn("INVALID", load.table)
            self.assertGreaterEqual(load.report["lag_seconds"]["max"], 0.75 * STALL_SECONDS)

    def test_rate_that_the_client_cannot_reach_makes_the_run_invalid(self):
        with daemon.Daemon("--max-queued-requests", "10000") as server:
            load = run(server.address, "--rate", "1000000", "--requests", "3000", "--output-tokens", "1",
                       "--prompt-tokens", "1", "--arrival", "constant", "--max-lag", "0.0001")
            self.assertEqual(load.report["valid"], False, load.table)
            self.assertIn("INVALID", load.table)


class TerminalTest(unittest.TestCase):
    def test_progress_line_is_shown_where_stderr_is_a_terminal(self):
        controller, terminal = os.openpty()
        with daemon.Daemon() as server:
            with Load(server.address, "--duration", "2", "--output-tokens", "8", stderr=terminal) as load:
                os.close(terminal)
                load.finish()
        shown = b""
        with open(controller, "rb", buffering=0) as stream:
            try:
                while part := stream.read(4096):
                    shown += part
            except OSError:  # how Linux reports that the other end is closed
                pass
        self.assertEqual(load.code, 0, load.table)
        self.assertRegex(shown.decode(), r"\d s  \d+ in flight  \d+ done  \d+ tokens/s  0 failed")
        self.assertTrue(shown.endswith(b"\r\x1b[K"), "the line leaves nothing behind")


class InterruptTest(unittest.TestCase):
    def test_interrupt_ends_the_run_and_still_reports(self):
        with daemon.Daemon() as server:
            with Load(server.address, "--duration", "300", "--output-tokens", "1000", "--concurrency", "8") as load:
                wait_until(lambda: server.sum("requests_in_flight", phase="decode") >= 8, "the streams run")
                load.process.send_signal(signal.SIGINT)
                load.finish()
            self.assertEqual(load.code, 0, load.errors + load.table)
            self.assertTrue(load.report["interrupted"])
            self.assertGreaterEqual(load.report["requests"]["sent"], 8)
            codes = {status["code"] for status in load.report["statuses"]}
            self.assertIn("CANCELLED", codes)
            server.wait_until_idle()


class ProgramTest(unittest.TestCase):
    """The load client is a program of its own, which latentctl becomes."""

    def run_program(self, program, *arguments):
        run = subprocess.run([program, *arguments], capture_output=True, text=True)
        return run.returncode, run.stdout, run.stderr

    def test_both_programs_say_the_same_of_the_command(self):
        for arguments in (["load", "--help"], ["load", "--rate", "x"], ["load", "--no-such-flag"]):
            self.assertEqual(self.run_program(daemon.BIN / "latentctl", *arguments),
                             self.run_program(daemon.BIN / "latentctl-load", *arguments))
        _, listed, _ = self.run_program(daemon.BIN / "latentctl", "--help")
        self.assertRegex(listed, r"\n  load +Send a load and measure it: closed or open loop\n")

    def test_is_found_through_a_link_and_missed_in_words(self):
        with tempfile.TemporaryDirectory(prefix="latentctl-alone-") as folder:
            link, copy = pathlib.Path(folder) / "link", pathlib.Path(folder) / "latentctl"
            link.symlink_to(daemon.BIN / "latentctl")
            shutil.copy(daemon.BIN / "latentctl", copy)
            self.assertIn("--concurrency", self.run_program(link, "load", "--help")[1])
            self.assertEqual(
                self.run_program(copy, "load", "--help"),
                (1, "", f'latentctl: expected the load client in "{folder}/latentctl-load", found none to run: '
                        "No such file or directory; make build makes it, and it belongs beside latentctl\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
