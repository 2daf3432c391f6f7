"""The flight recorder and the watchdog on the real daemon: what is dumped, where it is saved, and how a daemon ends
whose invariants are broken. Reads dumps by their description, without the daemon's code."""
import itertools
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

import grpc

import daemon
from daemon import (BIN, Daemon, Details, HOLD_TWO, PATIENCE_SECONDS, admin_pb2, held_request, models_pb2, pb, request,
                    wait_until)

ADMIN = ("--admin-listen", "127.0.0.1:0")
BROKEN = pathlib.Path(os.environ.get("LATENTD_BROKEN", BIN / "latentd_broken"))
# A prompt's step takes longer than the patience: a stall by the daemon's own rule.
STALLS = ("--stall-seconds", "0.01", "--max-step-tokens", "2048", "--max-step-seconds", "10")
HEAD = struct.Struct("<8sIIQQqq")
ENTRY = struct.Struct("<qQIi4i")
STEP = 15
NOT_SERVING = 2


class Dump:
    """What engine/schedule/flight_dump.h describes."""

    def __init__(self, content):
        magic, version, text_bytes, count, self.recorded, self.clock, self.taken = HEAD.unpack_from(content)
        assert (magic, version) == (b"LATFLGHT", 1)
        entries = content[HEAD.size + text_bytes:]
        assert len(entries) == count * ENTRY.size, "its length is what its head says"
        self.fingerprint = content[HEAD.size:HEAD.size + text_bytes].decode()
        self.entries = list(ENTRY.iter_unpack(entries))

    def steps(self):
        return [entry[4:] for entry in self.entries if entry[2] == STEP]


first_ids = itertools.count(5)


def long_prompt():
    """Another one each time, so that the prefix cache has nothing of it."""
    return pb.GenerateRequest(token_ids=pb.TokenIds(ids=[next(first_ids)] * 1800), stopping=pb.Stopping(max_tokens=1))


def latentctl(*arguments):
    return subprocess.run([BIN / "latentctl", "recorder", *arguments], capture_output=True, text=True,
                          timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)


class FolderTestCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def saved(self, why):
        return sorted(self.folder.glob(f"latentd-*-{why}*.flight"))


class DumpTest(FolderTestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(*ADMIN))
        cls.prompt_tokens = 0
        for seed in range(3):
            cls.prompt_tokens += cls.daemon.once(request(seed=seed)).started.prompt_tokens

    def dump(self, **limits):
        return b"".join(chunk.content for chunk in
                        self.daemon.admin.DumpFlightRecorder(admin_pb2.DumpFlightRecorderRequest(**limits)))

    def test_dump_tells_model_time_and_steps(self):
        dump = Dump(self.dump())
        model = self.daemon.models.GetModel(models_pb2.GetModelRequest())
        self.assertEqual(dump.fingerprint, model.fingerprint)
        self.assertEqual(dump.recorded, len(dump.entries), "the ring is not full yet")
        times = [entry[0] for entry in dump.entries] + [dump.clock]
        self.assertEqual(times, sorted(times))
        steps = dump.steps()
        self.assertGreater(len(steps), 3)
        self.assertGreaterEqual(sum(tokens for _, tokens, _, _ in steps), self.prompt_tokens)
        self.assertTrue(all(1 <= rows <= tokens and decoding <= rows for rows, tokens, _, decoding in steps))

    def test_max_bytes_takes_the_newest(self):
        whole, part = Dump(self.dump()), self.dump(max_bytes=1024)
        self.assertLessEqual(len(part), 1024)
        newest = Dump(part)
        self.assertGreaterEqual(len(newest.entries), 10)
        self.assertEqual(newest.entries, whole.entries[-len(newest.entries):])
        self.assertEqual(newest.recorded, whole.recorded)

    def test_max_bytes_has_a_least(self):
        for least in (0, 1023):
            with self.assertRaises(grpc.RpcError) as caught:
                self.dump(max_bytes=least)
            details = Details(caught.exception)
            self.assertEqual((details.reason, details.fields), ("INVALID_FIELD", ["max_bytes"]))

    def latentctl(self, *arguments):
        run = latentctl("--admin", self.daemon.admin_address, *arguments)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout.splitlines()

    def test_latentctl_prints_a_timeline_and_a_summary(self):
        lines = self.latentctl()
        self.assertRegex(lines[0], r"^model +\S")
        self.assertRegex(lines[1], r"^taken +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(lines[2], r"^holds +[\d,]+ decisions of [\d,]+ decisions, over [\d.]+ s, the last one ")
        dump = Dump(self.dump())
        self.assertEqual(len(lines), 3 + len(dump.entries) + 6)
        self.assertEqual(sum(" step of " in line for line in lines), len(dump.steps()))
        self.assertEqual([line.split("  ")[0] for line in lines[-6:]],
                         ["requests", "ends", "prefix cache", "preemptions", "waits", "steps"])

    def test_saved_dump_reads_the_same_without_the_daemon(self):
        file = self.folder / "dump"
        shown = self.latentctl("--output", file)
        again = latentctl(file)
        self.assertEqual(again.returncode, 0)
        lines = again.stdout.splitlines()
        self.assertEqual([*lines[:3], *lines[-6:]], shown)
        entries = [json.loads(line) for line in latentctl(file, "--json").stdout.splitlines()]
        self.assertEqual([entry["numbers"] for entry in entries if entry["decision"] == "step"],
                         [list(step) for step in Dump(file.read_bytes()).steps()])

    def test_full_disk_fails_it(self):
        with open("/dev/full", "w") as full:
            run = subprocess.run([BIN / "latentctl", "recorder", "--admin", self.daemon.admin_address], stdout=full,
                                 stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
        self.assertEqual(run.returncode, 1)
        self.assertIn("latentctl: standard output: ", run.stderr)
        run = latentctl("--admin", self.daemon.admin_address, "--output", "/dev/full")
        self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)

    def test_file_that_is_no_dump_fails_in_one_line(self):
        file = self.folder / "dump"
        self.latentctl("--output", file)
        whole = file.read_bytes()
        for content in (b"", b"LATFLGHT", whole[:-1], whole + b"x", b"\x1b[2J" * 100):
            file.write_bytes(content)
            run = latentctl(file)
            self.assertEqual((run.returncode, run.stdout, run.stderr.count("\n")), (1, "", 1), run.stderr)
            self.assertIn("expected a dump of the flight recorder, found ", run.stderr)
            self.assertNotIn("\x1b", run.stderr)
        self.assertEqual(latentctl(self.folder / "nothing").returncode, 1)
        self.assertEqual(latentctl(self.folder).returncode, 1)


class StallTest(FolderTestCase):
    def test_stall_saves_the_recorder_and_names_the_file(self):
        with Daemon(*STALLS, "--recorder-dir", self.folder) as server:
            def stalls():
                server.once(long_prompt())
                return self.saved("stall")
            wait_until(stalls, "a step takes longer than the patience")
            path = self.saved("stall")[0]
            server.await_log(f"flight recorder: {path}")
            dump = Dump(path.read_bytes())
            self.assertGreater(dump.clock, 0)
            run = latentctl(path)
            self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_one_line_says_that_nothing_was_saved(self):
        with Daemon(*STALLS) as server:
            def stalls():
                server.once(long_prompt())
                return "not saved, because recorder-dir names no directory" in server.log_text()
            wait_until(stalls, "a step takes longer than the patience")

    def test_directory_that_is_none_is_refused_at_the_start(self):
        refused = daemon.run("--model", daemon.MODEL, "--recorder-dir", str(self.folder / "nothing"))
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn("recorder-dir", refused.stderr)
        self.assertIn(f"expected a directory that can be written to, found \"{self.folder}/nothing\"", refused.stderr)


class BrokenDaemon(Daemon):
    """Ends as a failure, which its test looks at."""

    def __init__(self, *flags):
        super().__init__(*flags, program=BROKEN)

    def __exit__(self, kind, value, trace):
        self.disconnect()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self.folder)


class BrokenInvariantTest(FolderTestCase):
    def test_violation_drains_and_ends_as_a_failure(self):
        with BrokenDaemon(*ADMIN, *HOLD_TWO, "--recorder-dir", self.folder, "--drain-seconds", "600") as server:
            self.assertEqual(server.health(), 1)
            stream = server.generation.Generate(held_request("held"))
            next(stream)  # unread, it keeps the drain from being over
            wait_until(lambda: server.health() == NOT_SERVING, "the violation is seen")
            wait_until(lambda: server.admin.GetLoad(admin_pb2.GetLoadRequest()).draining, "the daemon drains")
            self.assertEqual(server.sum("kv_invariant_violations_total"), 1)
            with self.assertRaises(grpc.RpcError) as caught:
                server.once(request())
            self.assertEqual(Details(caught.exception).reason, "DRAINING")
            (path,) = self.saved("invariant")
            server.await_log(f"flight recorder: {path}")
            self.assertGreater(len(Dump(path.read_bytes()).steps()), 0)
            self.assertEqual(list(stream)[-1].completed.usage.generated_tokens, 1900, "it goes on to its end")
            self.assertEqual(server.process.wait(PATIENCE_SECONDS), 1)
            log = server.log_text()
            self.assertEqual(log.count("engine: an invariant is broken: planted; not serving from now on"), 1, log)
            self.assertEqual(log.splitlines()[-1], "latentd: an invariant is broken: planted")


if __name__ == "__main__":
    unittest.main(verbosity=2)
