"""Twice what the daemon can serve, with a cache of a twentieth of what the load wants, cancels, deadlines and readers
that stall: every law in every scrape, the right bytes to each client, every block home."""
import json
import os
import pathlib
import tempfile
import threading
import unittest

import grpc

from load_run import Load, daemon
import laws
from daemon import held_request, stubborn_channel

SECONDS = int(os.environ.get("LATENTD_OVERLOAD_SECONDS", 15))
ROWS, BLOCKS_OF_ONE = 64, 6
KV_BLOCKS = ROWS * BLOCKS_OF_ONE // 20 + 1
PROMPT_TOKENS, OUTPUT_TOKENS = (20, 240), (20, 120)
STALLED_READERS = 4


def requests():
    """Prompts that share prefixes of all lengths."""
    state = 1
    lines = []
    for number in range(60):
        state = (state * 1103515245 + 12345) % 2**31
        length = PROMPT_TOKENS[0] + state % (PROMPT_TOKENS[1] - PROMPT_TOKENS[0])
        shared = state // 7 % length
        family = number % 5
        ids = [300 + (family * 131 + i * 17) % 3000 if i < shared else 300 + (number * 977 + i * 29) % 3000
               for i in range(length)]
        lines.append(json.dumps({"token_ids": ids, "max_tokens": OUTPUT_TOKENS[0] + state // 3 %
                                 (OUTPUT_TOKENS[1] - OUTPUT_TOKENS[0]), "ignore_eos": True}))
    return "\n".join(lines) + "\n"


class OverloadTest(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="latentd-test-"))
        self.requests = pathlib.Path(folder) / "requests.jsonl"
        self.requests.write_text(requests())

    def capacity(self, server):
        """Requests per second, in a closed loop."""
        with Load(server.address, "--jsonl", self.requests, "--concurrency", "64", "--duration", "4") as load:
            load.finish()
        return load.report["requests"]["succeeded"] / 4

    def stall(self, server, number):
        with stubborn_channel(server) as channel:
            stub = daemon.generation_pb2_grpc.GenerationStub(channel)
            call = stub.Generate(held_request(f"stalled-{number}", number))
            try:
                for _ in call:
                    self.stop.wait(0.5)
            except grpc.RpcError as error:
                self.ends.append(daemon.Details(error).reason)

    def test_overload(self):
        self.stop, self.ends = threading.Event(), []
        with daemon.Daemon("--kv-blocks", str(KV_BLOCKS + 30), "--max-queued-requests", "100000", "--max-queued-tokens",
                           "100000000", "--max-pending-bytes", "1024", "--slow-consumer-seconds", "2") as server:
            rate = 2 * self.capacity(server)
            stalled = [threading.Thread(target=self.stall, args=(server, i)) for i in range(STALLED_READERS)]
            for thread in stalled:
                thread.start()
            scrapes, pause = 0, threading.Event()
            with Load(server.address, "--jsonl", self.requests, "--rate", f"{rate:.1f}", "--duration", str(SECONDS),
                      "--adversaries", "cancel:0.1,deadline:0.1", "--deadline-seconds", "0.05:5",
                      "--timeout", "600", "--connections", "4", "--max-lag", "5", "--check") as load:
                while load.process.poll() is None:
                    self.assertEqual(laws.violations(server.metrics()), [])
                    scrapes += 1
                    pause.wait(0.1)
                load.finish()
            self.stop.set()
            for thread in stalled:
                thread.join()
            self.assertEqual(load.code, 0, load.errors + load.table)
            for check in ("stream grammar", "same bytes as alone"):
                self.assertEqual(load.outcomes()[check][0], "passed", load.table)
            self.assertGreater(scrapes, 20)
            server.wait_until_idle()
            self.assertEqual(laws.violations(server.metrics()), [])
            for series in ("preemptions_total", "kv_evictions_total", "prefix_cache_hit_tokens_total"):
                self.assertGreater(server.sum(series), 0, series)
            self.assertEqual(server.sum("kv_blocks", state="free") + server.sum("kv_blocks", state="cached"),
                             server.sum("kv_blocks_capacity") - 1, "every block is home")
            print(f"{rate:.0f} requests/s asked, {load.report['requests']['succeeded']} succeeded; preempted "
                  f"{server.sum('preemptions_total'):.0f}, evicted {server.sum('kv_evictions_total'):.0f}, hit "
                  f"{server.sum('prefix_cache_hit_tokens_total'):.0f} tokens; stalled readers ended {self.ends}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
