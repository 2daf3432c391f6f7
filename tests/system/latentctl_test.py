"""latentctl's commands for operators, against the real daemon."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import unittest

import grpc

from daemon import BIN, Daemon, HOLD_TWO, MODEL, PATIENCE_SECONDS, admin_pb2, held_request, long_request, wait_until
from loading_daemon import free_address

ADMIN = ("--admin-listen", "127.0.0.1:0")
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def latentctl(server, *arguments, admin=None):
    return subprocess.run([BIN / "latentctl", arguments[0], "--admin", admin or server.admin_address, *arguments[1:]],
                          capture_output=True, text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)


def live(server):
    return {entry.request_id: entry.phase for entry in
            server.admin.ListRequests(admin_pb2.ListRequestsRequest()).requests}


class CommandTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(*ADMIN, *HOLD_TWO))

    def run_ok(self, *arguments):
        run = latentctl(self.daemon, *arguments)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout

    def fill(self):
        """Two that decode and one that waits."""
        self.calls = []  # kept, or they would be cancelled
        for i in range(3):
            self.calls.append(self.daemon.generation.Generate(held_request(f"row-{i}", i)))
            wait_until(lambda: len(live(self.daemon)) == i + 1, "it has arrived before the next one")
        wait_until(lambda: list(live(self.daemon).values()) == [3, 3, 1], "two run, one waits")

    def tearDown(self):
        self.daemon.admin.Abort(admin_pb2.AbortRequest(all=True))
        self.daemon.wait_until_idle()

    def test_status_shows_health_model_and_load(self):
        self.fill()
        text = self.run_ok("status")
        self.assertRegex(text, r"(?m)^health +SERVING$")
        self.assertRegex(text, rf"(?m)^model +{MODEL.name}, ")
        self.assertRegex(text, r"(?m)^requests +0 prefill, 2 decode, 0 output; 1 queued with [1-9]\d* prompt tokens$")
        self.assertRegex(text, r"(?m)^cache +\[#+\+*\.+\] [1-9]\d* active, \d+ cached, \d+ free of \d+ blocks$")
        self.assertRegex(text, r"(?m)^prefixes +(none|[\d.]+ %) of late prompts; preempted \d+ for blocks, \d+ for")
        self.assertRegex(text, r"(?m)^waits +for rows \d+, tokens \d+, blocks \d+, logits \d+ times$")
        self.assertRegex(text, r"(?m)^waiting +1 at 0$")
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 80)

    def test_status_as_json(self):
        answer = json.loads(self.run_ok("status", "--json"))
        self.assertEqual((answer["serving"], answer["model"]["name"]), (True, MODEL.name))
        self.assertIn("kv_blocks_total", answer["load"])

    def test_requests_is_a_table_and_json_lines(self):
        self.fill()
        header, *rows = self.run_ok("requests").splitlines()
        self.assertEqual(header.split()[:4], ["ID", "METHOD", "PHASE", "AGE"])
        self.assertEqual([row.split()[:3] for row in rows],
                         [["row-0", "Generate", "decode"], ["row-1", "Generate", "decode"],
                          ["row-2", "Generate", "queued"]])
        entries = [json.loads(line) for line in self.run_ok("requests", "--json").splitlines()]
        self.assertEqual([entry["request_id"] for entry in entries], ["row-0", "row-1", "row-2"])

    def client(self, command, *arguments, stdout=subprocess.PIPE):
        """A command that speaks to the API."""
        return subprocess.run([BIN / "latentctl", command, "--server", self.daemon.address, *arguments], stdout=stdout,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL)

    def test_full_disk_fails_each_command(self):
        with open("/dev/full", "w") as full:
            runs = [self.client(*command, stdout=full) for command in (
                ("generate", "--max-tokens", "4", "A king"), ("generate", "--json", "--max-tokens", "4", "A king"),
                ("score", "A king"), ("tokenize", "A king"), ("detokenize", "5,6"), ("model",), ("health",),
                ("health", "--wait", "5"), ("load", "--requests", "1"))]
            runs += [subprocess.run([BIN / "latentctl", *command, "--admin", self.daemon.admin_address], stdout=full,
                                    stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
                     for command in (("status",), ("requests",), ("top",), ("top", "--json"))]
        for run in runs:
            self.assertEqual(run.returncode, 1, run.args)
            self.assertIn("latentctl: standard output: ", run.stderr, run.args)

    def test_numbers_are_taken_whole_or_refused(self):
        for flags in (("--seed", "18446744073709551616"), ("--seed", "-1"), ("--seed", "1.5"), ("--seed", ""),
                      ("--max-tokens", "4294967296"), ("--max-tokens", "-1"), ("--stop-token-id", "-1"),
                      ("--timeout", "nan"), ("--timeout", "-1"), ("--timeout", "inf"), ("--timeout", "1e300"),
                      ("--ids", "1,-2")):
            run = self.client("generate", "=".join(flags), *(() if "--ids" in flags else ("A king",)))
            self.assertGreater(run.returncode, 0, flags)
            self.assertEqual((run.stdout, run.stderr.count("\n")), ("", 1), run.stderr)
            self.assertIn(flags[0], run.stderr)
        for flags in (("--seed", str(2**64 - 1)), ("--timeout", "60"), ("--timeout", "0")):
            self.assertEqual(self.client("generate", "--max-tokens", "2", *flags, "A king").returncode, 0, flags)
        for arguments in (("load", "--seed", "-1"), ("load", "--timeout", "nan"), ("detokenize", "4294967296"),
                          ("score", "--top-logprobs", "-1", "A king")):
            run = self.client(*arguments)
            self.assertGreater(run.returncode, 0, arguments)
            self.assertEqual((run.stdout, run.stderr.count("\n")), ("", 1), run.stderr)

    def test_lists_leave_the_prompt_alone(self):
        plain = self.client("generate", "--seed", "7", "--max-tokens", "12", "A king").stdout
        for flags in (("--stop", "zebra", "--stop", "yak"), ("--stop-token-id", "5", "--stop-token-id", "6")):
            run = self.client("generate", "--seed", "7", "--max-tokens", "12", *flags, "A king")
            self.assertEqual((run.returncode, run.stderr, run.stdout), (0, "", plain), flags)
        ids = self.client("generate", "--seed", "7", "--max-tokens", "12", "--ids", "0,17", "A king")
        self.assertGreater(ids.returncode, 0)

    def test_flags_reach_the_request(self):
        """What a request shares and how it ranks, for each command that has the flags."""
        sharing = ("--tenant", "alpha", "--salt", self.id())
        story = "Once upon a time there was a king who had three daughters and a golden bird. " * 4

        def cached(*flags):
            events = self.client("generate", "--json", "--max-tokens", "2", *flags, story).stdout.splitlines()
            return int(json.loads(events[0])["started"].get("cached_tokens", 0))

        self.client("score", *sharing, "--no-store", story)
        self.assertEqual(cached(*sharing, "--no-store"), 0)
        self.client("score", *sharing, "--keep-for", "5", "--priority", "-3", "--ttft-slo", "60", story)
        self.assertGreater(cached(*sharing), 0)
        self.assertEqual(cached(*sharing, "--bypass-cache"), 0)
        self.assertEqual(cached("--tenant", "beta", "--salt", self.id()), 0)
        self.assertEqual(cached("--tenant", "alpha", "--salt", "another"), 0)
        for flags, says in ((("--priority", "9"), "--priority"), (("--ttft-slo", "1e-9"), "SLO_UNATTAINABLE"),
                            (("--keep-for", "1", "--no-store"), "--no-store"), (("--n", "65"), "sampling.n"),
                            (("--tenant", "x" * 65), "found 65 bytes"), (("--tenant", "ä"), "printable ASCII")):
            run = self.client("generate", *flags, "A king")
            self.assertGreater(run.returncode, 0, flags)
            self.assertIn(says, run.stderr)

    def test_flush_cache_says_what_it_freed(self):
        self.client("generate", "--max-tokens", "2", "A king")
        self.assertRegex(self.run_ok("flush-cache"), r"^[1-9]\d* blocks freed$")
        self.assertEqual(json.loads(self.run_ok("flush-cache", "--json")), {})

    def test_line_breaks_in_what_is_wrong_are_escaped(self):
        for run in (self.client("generate", "--server", "a\nb:1", "A king"), self.client("health", "no\nsuch")):
            self.assertGreater(run.returncode, 0)
            self.assertEqual(run.stderr.count("\n"), 1, run.stderr)

    def test_health_waits_for_a_daemon_that_comes(self):
        address = free_address()
        waiting = subprocess.Popen([BIN / "latentctl", "health", "--wait", "60", "--server", address],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with Daemon("--listen", address):
            self.assertEqual(waiting.communicate(timeout=PATIENCE_SECONDS), ("SERVING\n", ""))
        self.assertEqual(waiting.returncode, 0)
        run = subprocess.run([BIN / "latentctl", "health", "--wait", "0.2", "--server", address], capture_output=True,
                             text=True, timeout=PATIENCE_SECONDS)
        self.assertEqual((run.returncode, run.stdout, run.stderr.count("\n")), (1, "", 1))
        self.assertIn("not SERVING after 0.2 s: ", run.stderr)
        self.assertNotEqual(self.client("health", "--wait", "60", "no.such.Service").returncode, 0)

    def test_health_waits_while_a_daemon_goes_and_another_comes(self):
        address = free_address()
        with Daemon("--listen", address, "--drain-seconds", "3600", *HOLD_TWO) as going:
            call = going.generation.Generate(held_request("held"))
            next(call)
            going.process.terminate()
            wait_until(lambda: going.health() == 2, "it drains")
            before = going.sum("connections")
            waiting = subprocess.Popen([BIN / "latentctl", "health", "--wait", "60", "--server", address],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            wait_until(lambda: going.sum("connections") > before, "it watches the one that drains")
            call.cancel()
            self.assertEqual(going.process.wait(PATIENCE_SECONDS), 0)
        with Daemon("--listen", address):
            self.assertEqual(waiting.communicate(timeout=PATIENCE_SECONDS), ("SERVING\n", ""))
        self.assertEqual(waiting.returncode, 0)

    def test_version(self):
        ours = subprocess.run([BIN / "latentctl", "--version"], capture_output=True, text=True)
        daemons = subprocess.run([BIN / "latentd", "--version"], capture_output=True, text=True)
        self.assertEqual(ours.stdout, daemons.stdout.replace("latentd", "latentctl"))

    def test_abort_of_some_and_of_all(self):
        self.fill()
        self.assertEqual(self.run_ok("abort", "row-2", "nobody"), "row-2 aborted\nnobody not found\n")
        wait_until(lambda: "row-2" not in live(self.daemon), "it is gone")
        self.assertEqual(sorted(self.run_ok("abort", "--all").splitlines()), ["row-0 aborted", "row-1 aborted"])

    def test_abort_wants_ids_or_all(self):
        run = latentctl(self.daemon, "abort")
        self.assertEqual(run.returncode, 1)
        self.assertIn("INVALID_ARGUMENT (INVALID_FIELD)", run.stderr)
        self.assertNotEqual(latentctl(self.daemon, "abort", "a", "--all").returncode, 0)

    def test_daemon_that_is_not_there_is_one_line(self):
        for command in ("status", "requests", "drain", "top"):
            run = latentctl(self.daemon, command, admin="127.0.0.1:1")
            self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
            self.assertIn("UNAVAILABLE", run.stderr)

    def test_top_into_a_pipe_prints_plain_snapshots(self):
        self.fill()
        text = self.run_ok("top", "--count", "2", "--interval", "0.1")
        self.assertEqual(text.count("latentd " + self.daemon.admin_address), 2)
        self.assertIn("row-2", text)
        self.assertNotIn("\x1b", text)
        loads = [json.loads(line) for line in self.run_ok("top", "--count", "2", "--interval", "0.1",
                                                          "--json").splitlines()]
        self.assertEqual([load["requests_queued"] for load in loads], [1, 1])


class TerminalTest(unittest.TestCase):
    """top on a terminal of 24 rows and 80 columns."""

    def setUp(self):
        self.daemon = self.enterContext(Daemon(*ADMIN, *HOLD_TWO))
        self.bytes = b""

    def start(self, *arguments):
        pid, self.terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execv(BIN / "latentctl", ["latentctl", "top", "--admin", self.daemon.admin_address, "--interval", "0.1",
                                         *arguments])
        self.addCleanup(os.close, self.terminal)
        return pid

    def read_more(self):
        """False once the program has closed its terminal."""
        if not select.select([self.terminal], [], [], 0.01)[0]:
            return True
        try:
            self.bytes += os.read(self.terminal, 65536)
        except OSError:
            return False
        return True

    @property
    def output(self):
        return self.bytes.decode(errors="ignore")

    def wait_for(self, condition, what):
        wait_until(lambda: self.read_more() and condition(), what)

    def frames(self):
        """Whole ones only."""
        return [frame for frame in self.output.split("\x1b[H")[1:] if frame.endswith("\x1b[J")]

    def assert_ends(self, pid, code):
        wait_until(lambda: not self.read_more(), "the program closes its terminal")
        _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), code, self.output[-500:])
        self.assertTrue(self.output.startswith(ENTER), self.output[:80])
        self.assertEqual((self.output.count(ENTER), self.output.count(LEAVE)), (1, 1))

    def test_screen_fits_follows_the_size_and_is_restored_by_ctrl_c(self):
        calls = [self.daemon.generation.Generate(held_request(f"row-{i}-with-a-name-too-long-for-a-table", i))
                 for i in range(30)]
        pid = self.start()
        self.wait_for(lambda: len(self.frames()) >= 2, "two frames")
        lines = [re.sub(r"\x1b\[[KJ]", "", line.rstrip("\r")) for line in self.frames()[-1].split("\n")]
        self.assertEqual(len(lines), 24)
        self.assertLessEqual(max(len(line) for line in lines), 80)
        self.assertIn("queued", "\n".join(lines))
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 40, 0, 0))
        self.wait_for(lambda: self.frames() and self.frames()[-1].count("\r\n") == 7, "a frame of eight rows")
        os.write(self.terminal, b"\x03")
        self.assert_ends(pid, 0)
        self.assertTrue(self.output.endswith(LEAVE))
        for call in calls:
            call.cancel()

    def test_count_ends_it(self):
        self.assert_ends(self.start("--count", "2"), 0)

    def test_end_of_the_daemon_restores_the_screen_and_says_so(self):
        pid = self.start()
        self.wait_for(lambda: self.frames(), "a frame")
        self.daemon.process.terminate()
        self.assertEqual(self.daemon.process.wait(PATIENCE_SECONDS), 0)
        self.assert_ends(pid, 0)
        self.assertTrue(self.output.split(LEAVE)[1].startswith("latentctl: the daemon has ended"), self.output[-200:])


class DrainTest(unittest.TestCase):
    def test_drain_shows_progress_until_the_daemon_is_gone(self):
        with Daemon(*ADMIN) as server:
            call = server.generation.Generate(long_request())
            wait_until(lambda: live(server), "it runs")
            run = latentctl(server, "drain", "--timeout", "600")
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            lines = run.stdout.splitlines()
            self.assertRegex(lines[0], r"^1 in flight, 5\d\d\.\d s left$|^1 in flight, 600\.0 s left$")
            self.assertRegex(lines[-2], r"^0 in flight, ")
            self.assertEqual(lines[-1], "drained")
            self.assertEqual([event for event in call][-1].completed.usage.generated_tokens, 1900)
            self.assertEqual(server.process.wait(PATIENCE_SECONDS), 0)

    def test_drain_as_json_with_the_daemons_own_timeout(self):
        with Daemon(*ADMIN, "--drain-seconds", "0") as server:
            call = server.generation.Generate(long_request())
            wait_until(lambda: live(server), "it runs")
            run = latentctl(server, "drain", "--json")
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual([json.loads(line) for line in run.stdout.splitlines()][-1].get("requests_in_flight", 0), 0)
            with self.assertRaises(grpc.RpcError) as caught:
                list(call)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
