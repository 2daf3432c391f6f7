"""The programs take what the machine grants: processors, CPU time, memory, threads. Groups need root."""
import json
import os
import pathlib
import re
import subprocess
import unittest

import daemon
from cgroup import Cgroup, memory_limit

ONE_PROCESSOR = min(os.sched_getaffinity(0))


def threads_line(*flags, under=()):
    with daemon.Daemon(*flags, under=under) as server:
        return server.await_log(r"threads: ([^\n\"]*)")[1]


class ProcessorsTest(unittest.TestCase):
    def test_threads_are_those_that_the_affinity_allows(self):
        online = os.sysconf("SC_NPROCESSORS_ONLN")
        one = "1 processor" if online == 1 else f"the affinity allows 1 of {online} processors"
        under = ["taskset", "--cpu-list", str(ONE_PROCESSOR)]
        self.assertEqual(threads_line("--threads", "0", under=under), f"1 ({one})")
        self.assertEqual(threads_line("--threads", "3", under=under), f"3 (as asked; the machine grants: {one})")

    def test_threads_are_those_that_the_quota_pays_for(self):
        half = {"v1": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}, "v2": {"cpu.max": "50000 100000"}}
        with Cgroup("cpu", **half) as group:
            line = threads_line("--threads", "0", under=group.enter)
        self.assertRegex(line, r"^1 \(a cgroup's quota of 0\.5 processors, ")

    def test_get_config_tells_the_number(self):
        with daemon.Daemon("--threads", "0", "--admin-listen", "127.0.0.1:0",
                           under=["taskset", "--cpu-list", str(ONE_PROCESSOR)]) as server:
            knobs = server.admin.GetConfig(daemon.admin_pb2.GetConfigRequest()).knobs
        self.assertEqual([knob.value for knob in knobs if knob.name == "threads"], ["1"])


class PinningTest(unittest.TestCase):
    def processors_of_threads(self, server):
        """The affinity of each thread of the daemon, as the system shows it."""
        status = (task / "status" for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir())
        return [re.search(r"Cpus_allowed_list:\s*(\S+)", file.read_text())[1] for file in status]

    def test_on_gives_each_compute_thread_a_processor_and_others_none(self):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            self.skipTest("one processor")
        with daemon.Daemon("--threads", "0", "--pin-threads", "on") as server:
            server.once(daemon.request())
            alone = [text for text in self.processors_of_threads(server) if text.isdigit()]
            self.assertRegex(server.await_log(r"threads: ([^\n\"]*)")[1], r"processors.*, pinned to 0")
        self.assertEqual(sorted(alone), sorted(str(processor) for processor in allowed))

    def test_auto_leaves_one_node_alone(self):
        if len(list(pathlib.Path("/sys/devices/system/node").glob("node[0-9]*"))) > 1:
            self.skipTest("several NUMA nodes")
        with daemon.Daemon("--threads", "0") as server:
            server.once(daemon.request())
            self.assertEqual(len(set(self.processors_of_threads(server))), 1)

    def test_what_cannot_be_is_one_line(self):
        for flags, message in ((["yes"], "expected auto, on, off or a list"),
                               (["1023"], "which the affinity allows, found 1023"),
                               (["on", "--threads", "1000"], "expected a processor for each of 1000 threads")):
            done = subprocess.run([daemon.BIN / "latentd", "--model", daemon.MODEL, "--pin-threads", *flags],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=daemon.PATIENCE_SECONDS)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertRegex(done.stderr, f"pin-threads: .*{message}")


class MemoryTest(unittest.TestCase):
    LIMIT = 256 << 20

    def inspected(self, under=()):
        done = subprocess.run([*under, daemon.BIN / "latent-convert", "inspect", daemon.MODEL, "--json"],
                              capture_output=True, text=True, check=True, timeout=daemon.PATIENCE_SECONDS)
        return json.loads(done.stdout)

    def test_inspect_promises_what_the_container_has(self):
        with Cgroup("memory", **memory_limit(self.LIMIT)) as group:
            report = self.inspected(group.enter)
            with daemon.Daemon(under=group.enter) as server:
                cache_bytes = server.sum("kv_cache_bytes")
        available = report["memory"]["available_bytes"]
        self.assertLessEqual(available, self.LIMIT)
        self.assertGreater(available, self.LIMIT // 2)
        fitting = report["cache_fp32"]
        self.assertLessEqual(fitting["fitting_tokens"] * fitting["bytes_per_token"], available)
        self.assertLessEqual(cache_bytes, available // 2)

    def test_address_space_bounds_it_too(self):
        limit = 1 << 30
        under = ["sh", "-c", f'ulimit -v {limit >> 10} && exec "$@"', "sh"]
        self.assertLessEqual(self.inspected(under)["memory"]["available_bytes"], limit)


class ThreadsTest(unittest.TestCase):
    def test_too_few_are_one_line(self):
        few = {"v1": {"pids.max": "12"}, "v2": {"pids.max": "12"}}
        with Cgroup("pids", **few) as group:
            done = subprocess.run([*group.enter, daemon.BIN / "latentd", "--model", daemon.MODEL], text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=daemon.PATIENCE_SECONDS)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertRegex(done.stderr, r"^latentd: expected to start \d+ threads, the system allows \d+: "
                                      r"Resource temporarily unavailable \(pids\.max of \S+ is 12\); raise ")


if __name__ == "__main__":
    unittest.main()
