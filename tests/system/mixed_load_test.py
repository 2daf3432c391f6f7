"""64 streams with cancels and tight deadlines: laws, outputs and accounts hold, and nothing leaks."""
import os
import threading
import unittest

from load_run import Load, daemon
import laws
from daemon import wait_until

SECONDS = int(os.environ.get("LATENTD_LOAD_SECONDS", 20))
WARM_UP_SECONDS = 6
MAX_GROWTH = 1.1  # of resident memory after the warm-up; the heap's own fragmentation stays well below


class MixedLoadTest(unittest.TestCase):
    def check_laws(self, samples):
        self.assertEqual(laws.violations(samples), [])

    def test_mixed_load(self):
        # A cache that the warm-up fills: what was never used is not resident.
        with daemon.Daemon("--kv-blocks", "250") as server:
            free_blocks = server.available_blocks()
            open_files = server.num_files()
            resident, scrapes, pause = [], 0, threading.Event()
            with Load(server.address, "--concurrency", "64", "--duration", str(SECONDS), "--adversaries",
                      "cancel:0.2,deadline:0.1", "--prompt-tokens", "48:24", "--output-tokens", "48:24",
                      "--connections", "4", "--check", "--metrics", server.metrics_address) as load:
                while load.process.poll() is None:
                    self.check_laws(server.metrics())
                    scrapes += 1
                    resident.append(server.resident_bytes())
                    pause.wait(0.1)
                load.finish()
            self.assertEqual(load.code, 0, load.errors + load.table)
            self.assertEqual({verdict for verdict, _ in load.outcomes().values()}, {"passed"}, load.table)
            self.assertEqual(len(load.outcomes()), 7)
            self.assertGreater(load.report["requests"]["succeeded"], 0)
            self.assertGreater(scrapes, 20)

            warm = len(resident) * WARM_UP_SECONDS // SECONDS
            before, after = max(resident[:warm]), max(resident[warm:])
            self.assertLess(after, before * MAX_GROWTH, f"resident bytes, from sample {warm} of {len(resident)}")
            server.wait_until_idle()
            self.assertEqual(server.available_blocks(), free_blocks, "every block is home")
            wait_until(lambda: server.num_files() <= open_files, "every connection is closed")
            self.check_laws(server.metrics())


if __name__ == "__main__":
    unittest.main(verbosity=2)
