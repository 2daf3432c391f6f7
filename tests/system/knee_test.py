"""Twice the load of the knee, of two tenants with adversaries among them: each refusal has its status, the well-behaved
are served as if alone, and nothing is left behind. 40 s.

Goodput, fairness and the probe's latency are printed beside what they are without adversaries: they depend on the
machine. LATENTD_KNEE_SECONDS says how long each load is sent.
"""
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

from load_run import BIN, Load, daemon
import laws
from daemon import wait_until

SECONDS = float(os.environ.get("LATENTD_KNEE_SECONDS", 12))
ADVERSARIES = 0.3
MAX_GROWTH = 1.1  # of resident memory in the second half of the load
REQUESTS = ("--prompt-tokens", "48:16", "--output-tokens", "32:8", "--tenants", "a:1,b:1", "--connections", "4")


class KneeTest(unittest.TestCase):
    def find_knee(self, server):
        """Requests per second that are completed there."""
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            file = pathlib.Path(folder) / "sweep.json"
            sweep = subprocess.run([BIN / "latentctl", "load", "sweep", "--server", server.address, "--levels", "4:64",
                                    "--duration", "1.5", "--json", file, *REQUESTS], capture_output=True, text=True)
            self.assertEqual(sweep.returncode, 0, sweep.stderr)
            report = json.loads(file.read_text())
        print(sweep.stdout)
        return report["levels"][report["found"]]["report"]["throughput"]["requests_per_second"]

    def send(self, server, rate, *flags):
        """Sends the load, holds the laws meanwhile, and gives its report and samples of resident bytes."""
        resident, pause = [], threading.Event()
        with Load(server.address, "--rate", f"{rate:.2f}", "--duration", str(SECONDS), "--slo", "ttft=1", "--probe",
                  "--accept-refusals", "--max-lag", "30", *REQUESTS, *flags) as load:
            while load.process.poll() is None:
                self.assertEqual(laws.violations(server.metrics()), [])
                resident.append(server.resident_bytes())
                pause.wait(0.1)
            load.finish()
        self.assertEqual(load.code, 0, load.errors + load.table)
        print(load.table)
        server.wait_until_idle()
        return load.report, resident

    def test_adversaries_at_twice_the_knee(self):
        # A cache that the first load fills: what was never used is not resident.
        with daemon.Daemon("--kv-blocks", "250", "--max-queued-requests", "64", "--slow-consumer-seconds",
                           "2") as server:
            blocks, files = server.available_blocks(), server.num_files()
            rate = 2 * self.find_knee(server)
            alone, _ = self.send(server, rate * (1 - ADVERSARIES))
            beside, resident = self.send(server, rate, "--adversaries", f"all:{ADVERSARIES}", "--half-open", "8")

            self.assertEqual(sum(entry["unexpected"] for entry in beside["adversaries"]), 0)
            self.assertEqual(len(beside["adversaries"]), 10)
            refused = {status["reason"] for status in beside["statuses"] if status["code"] == "RESOURCE_EXHAUSTED"}
            self.assertIn("QUEUE_FULL", refused, "twice the knee is more than it serves")
            self.assertNotIn("", refused)
            half = len(resident) // 2
            self.assertLess(max(resident[half:]), max(resident[:half]) * MAX_GROWTH)
            self.assertEqual(server.available_blocks(), blocks, "every block is home")
            wait_until(lambda: server.num_files() <= files, "every connection is closed")
            self.assertEqual(laws.violations(server.metrics()), [])
            self.tell(alone, beside)

    def tell(self, alone, beside):
        goodput = [report["goodput"]["good"] / SECONDS for report in (alone, beside)]
        probe = [report["probe"]["latency_seconds"]["inter_token_latency"]["p99"] * 1e3 for report in (alone, beside)]
        print(f"goodput of the well-behaved {goodput[1]:.1f} requests/s beside adversaries, {goodput[0]:.1f} alone "
              f"({goodput[1] / max(goodput[0], 1e-9):.2f}x); fairness {beside['fairness']:.3f} and "
              f"{alone['fairness']:.3f}; probe's p99 between tokens {probe[1]:.1f} ms and {probe[0]:.1f} ms; client's "
              f"CPU per token {beside['client_cpu']['seconds_per_token'] * 1e6:.1f} us")


if __name__ == "__main__":
    unittest.main(verbosity=2)
