"""The daemon's log: one line per finished request, text or JSON, whatever clients send."""
import contextlib
import json
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

import grpc

import daemon
from daemon import BIN, Daemon, MODEL, PATIENCE_SECONDS, admin_pb2, long_request, pb, request, wait_until
from raw_http2 import (DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, RawClient, frame, framed, header,
                       request_headers)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
ADMIN = ("--admin-listen", "127.0.0.1:0")


def fields_of(line):
    """{'request_id': …} of a text line."""
    return dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)


class TextLogTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(*ADMIN))

    def lines_with(self, text):
        whole_lines = self.daemon.log_text().split("\n")[:-1]
        return [line for line in whole_lines if text in line]

    def line_of(self, request_id):
        """Once it is there, and there is one only."""
        needle = f" request_id={request_id} "
        wait_until(lambda: self.lines_with(needle), f"a line with{needle}")
        lines = self.lines_with(needle)
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def test_finished_request_has_one_line_that_tells_all(self):
        answer = self.daemon.once(request(request_id="whole"))
        line = self.line_of("whole")
        self.assertIn(" info request request_id=whole method=Generate code=OK reason=", line)
        fields = fields_of(line)
        self.assertEqual(int(fields["prompt_tokens"]), answer.started.prompt_tokens)
        self.assertEqual(int(fields["generated_tokens"]), answer.end.output_tokens)
        self.assertEqual(fields["model"], answer.started.model or "tiny-tales")
        self.assertTrue(fields["peer"].startswith("ipv4:127.0.0.1:"), line)
        times = [float(fields[f"{name}_seconds"]) for name in ("queue", "ttft", "decode", "total")]
        self.assertLessEqual(times[0], times[1])
        self.assertLessEqual(times[1] + times[2], times[3])

    def test_cancelled_request_says_so(self):
        call = self.daemon.generation.Generate(long_request_named("left"))
        wait_until(lambda: next(call).HasField("delta"), "the stream answers")
        call.cancel()
        self.assertIn("code=CANCELLED reason=CLIENT_CANCEL", self.line_of("left"))

    def test_refused_request_has_its_line_without_timings(self):
        with self.assertRaises(grpc.RpcError):
            self.daemon.once(request(model="no-such-model-here"))
        wait_until(lambda: self.lines_with("reason=MODEL_NOT_FOUND"), "the refusal's line")
        line = self.lines_with("reason=MODEL_NOT_FOUND")[0]
        self.assertIn("code=NOT_FOUND", line)
        self.assertNotIn("ttft_seconds", line)
        self.assertIn("total_seconds=", line)

    def test_lookups_have_lines_too(self):
        self.daemon.generation.Tokenize(pb.TokenizeRequest(text="a"))
        wait_until(lambda: self.lines_with("request method=Tokenize code=OK reason=ANSWERED"), "Tokenize's line")

    # --------------------------------------------------------------------------------------------------- traceparent

    def trace_of(self, name, *values):
        metadata = [("traceparent", value) for value in values]
        call = self.daemon.generation.Generate(request(request_id=name), metadata=metadata)
        echoed = dict(call.initial_metadata()).get("traceparent")
        list(call)
        return echoed, fields_of(self.line_of(name)).get("traceparent")

    def test_traceparent_is_echoed_and_logged(self):
        self.assertEqual(self.trace_of("traced", TRACE), (TRACE, TRACE))

    def test_later_version_may_say_more(self):
        later = "01" + TRACE[2:] + "-more"
        self.assertEqual(self.trace_of("later", later), (later, later))

    def test_invalid_traceparent_is_ignored(self):
        cases = [TRACE.upper(), TRACE[:-1], TRACE + "-more", "ff" + TRACE[2:], "00-" + "0" * 32 + TRACE[35:],
                 TRACE[:36] + "0" * 16 + "-01", TRACE.replace("-", "_"), "", "x" * 55, "00-" + "g" * 32 + TRACE[35:]]
        for number, value in enumerate(cases):
            with self.subTest(value=value):
                self.assertEqual(self.trace_of(f"bad-{number}", value), (None, None))
        self.assertEqual(self.trace_of("two", TRACE, TRACE), (None, None))

    def test_unary_and_immediate_answers_echo_it_as_well(self):
        for call, message in ((self.daemon.generation.GenerateOnce, request()),
                              (self.daemon.generation.Tokenize, pb.TokenizeRequest(text="a")),
                              (self.daemon.admin.GetLoad, admin_pb2.GetLoadRequest())):
            _, state = call.with_call(message, metadata=[("traceparent", TRACE)])
            self.assertEqual(dict(state.initial_metadata())["traceparent"], TRACE)

    def test_refusal_sends_no_initial_metadata(self):
        call = self.daemon.generation.Generate(request(model="gpt"), metadata=[("traceparent", TRACE)])
        with self.assertRaises(grpc.RpcError):
            list(call)
        self.assertNotIn("traceparent", dict(call.initial_metadata() or ()))

    # -------------------------------------------------------------------------------------------------------- levels

    def test_no_client_can_raise_an_error(self):
        """Deflate, which is not served, headers that gRPC itself refuses, and frames against the rules."""
        before = len(self.daemon.log_text())
        with self.assertRaises(grpc.RpcError):
            self.daemon.generation.Tokenize(pb.TokenizeRequest(text="a" * 2000), compression=grpc.Compression.Deflate)
        odd = (header("grpc-timeout", "-1"), header("grpc-encoding", "deflate"), header("grpc-encoding", "none-such"),
               header("content-type", "text/plain"), header("grpc-accept-encoding", "x,,y"), header("te", "chunked"),
               header(":method", "PUT"), header(":scheme", "ftp"), header("grpc-timeout", "1" * 99))
        for extra in odd:
            with RawClient(self.daemon.address) as client:
                headers = request_headers("/latentd.v1.Generation/Tokenize", self.daemon.address) + extra
                client.socket.sendall(frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, END_STREAM, 1, framed(b"")))
                client.read_whole_frame()
        headers = request_headers("/latentd.v1.Generation/Tokenize", self.daemon.address)
        call = lambda stream, extra=b"": frame(HEADERS, END_HEADERS | END_STREAM, stream, headers + extra)
        for frames in (frame(SETTINGS, payload=b"\0\4\xff\xff\xff\xff"), call(2), call(3) + call(1), call(1) + call(1),
                       call(1, header("a-bin", "!!!")), call(1, b"\x3f\xff\xff\xff\x0f"), call(1, b"\xff\xff\xff\x7f"),
                       call(1, header("grpc-status", "x")), frame(DATA, END_STREAM, 5, b"x"), frame(77, 255, 9)):
            with RawClient(self.daemon.address) as client, contextlib.suppress(OSError):
                client.socket.sendall(frames + frame(PING, payload=bytes(8)))
                client.read_whole_frame()
        self.daemon.once(request(request_id="after-deflate"))
        self.line_of("after-deflate")
        self.assertNotRegex(self.daemon.log_text()[before:], r" (error|warning) ")

    def test_level_off_is_silent_and_info_speaks_again(self):
        self.daemon.admin.SetLogLevel(admin_pb2.SetLogLevelRequest(level="off"))
        self.daemon.once(request(request_id="unseen"))
        self.daemon.admin.SetLogLevel(admin_pb2.SetLogLevelRequest(level="info"))
        self.daemon.once(request(request_id="seen"))
        self.line_of("seen")
        self.assertEqual(self.lines_with("request_id=unseen"), [])


def long_request_named(name):
    message = long_request()
    message.request_id = name
    return message


class JsonLogTest(unittest.TestCase):
    def objects(self, server):
        """Every complete line so far; each must be an object."""
        lines = server.log_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def find(self, server, **wanted):
        def matches():
            return [entry for entry in self.objects(server)
                    if all(entry.get(key) == value for key, value in wanted.items())]
        wait_until(matches, f"a line with {wanted}")
        return matches()

    def test_every_line_is_an_object_also_the_libraries_at_the_lowest_level(self):
        with Daemon(*ADMIN, "--log-format", "json", "--log-level", "trace") as server:
            answer = server.once(request(request_id="whole"))
            entry, = self.find(server, request_id="whole")
            self.assertEqual((entry["event"], entry["level"], entry["method"], entry["code"], entry["peer"][:5]),
                             ("request", "info", "Generate", "OK", "ipv4:"))
            self.assertEqual((entry["prompt_tokens"], entry["generated_tokens"]),
                             (answer.started.prompt_tokens, answer.end.output_tokens))
            for name in ("queue_seconds", "ttft_seconds", "decode_seconds", "total_seconds"):
                self.assertIsInstance(entry[name], float)
            self.assertIsNone(server.process.poll())
            server.process.terminate()
            self.assertEqual(server.process.wait(PATIENCE_SECONDS), 0)
            entries = self.objects(server)
            self.assertEqual(entries[-1]["message"], "stopped")
            for entry in entries:
                self.assertRegex(entry["time"], RFC_3339)
                self.assertIn(entry["level"], ("trace", "debug", "info", "warning", "error", "critical"))
                self.assertTrue(("message" in entry) != ("event" in entry), entry)

    def test_hostile_ids_and_metadata_stay_inside_their_line(self):
        ids = ['"},{"level":"error"', "a\\", "{}", "%s%n{0}", "'\"`$(x)"]
        with Daemon(*ADMIN, "--log-format", "json") as server:
            for text in ids:
                server.once(request(request_id=text))
                self.assertEqual(len(self.find(server, request_id=text)), 1, text)
            for text in ("new\nline", "\x1b[2J", "nul\0", "ünïcode", " blank"):
                with self.assertRaises(grpc.RpcError):
                    server.once(request(request_id=text))
            server.once(request(request_id="after"))
            self.find(server, request_id="after")
            refused = self.find(server, reason="INVALID_FIELD")
            self.assertEqual(len(refused), 5)
            self.assertTrue(all(0x20 <= ord(c) < 0x7f or c == "\n" for c in server.log_text()))

    def test_warning_is_for_what_the_servers_limits_caused(self):
        with Daemon("--log-format", "json", "--max-queued-requests", "1", "--max-rows", "1") as server:
            calls = [server.generation.Generate(long_request(seed)) for seed in range(8)]
            entry = self.find(server, reason="QUEUE_FULL")[0]
            self.assertEqual((entry["level"], entry["code"]), ("warning", "RESOURCE_EXHAUSTED"))
            for call in calls:
                call.cancel()

    def test_start_that_goes_wrong_is_an_object_too(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            file = pathlib.Path(folder) / "knobs.toml"
            file.write_text("log-format = 'json'\n")
            for refused, says in (
                    (daemon.run("--model", MODEL / "nothing", "--log-format", "json"), "nothing"),
                    (daemon.run("--log-format", "json", "--max-rows", "0"), "--max-rows: "),
                    (daemon.run("--max-rows", "0", LATENTD_LOG_FORMAT="json"), "--max-rows: "),
                    (daemon.run("--max-rows", "0", "--config", file), "--max-rows: "),
                    (daemon.run("--colour", LATENTD_CONFIG=str(file)), "--colour")):
                self.assertEqual(refused.returncode, 1)
                entry = json.loads(refused.stderr)
                self.assertEqual(entry["level"], "critical")
                self.assertIn(says, entry["message"])


class FullPipeTest(unittest.TestCase):
    def test_log_that_nobody_reads_delays_nobody_and_is_bounded(self):
        num_rpcs = 12_000  # more lines than the pipe and the queue before it can hold
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            ports = pathlib.Path(folder) / "ports.json"
            process = subprocess.Popen(
                [BIN / "latentd", "--model", MODEL, "--port-file", ports], stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL)
            self.addCleanup(process.kill)
            wait_until(ports.exists, "the daemon serves")
            with grpc.insecure_channel(json.loads(ports.read_text())["grpc"]) as channel:
                stub = daemon.generation_pb2_grpc.GenerationStub(channel)
                for _ in range(num_rpcs):
                    stub.Tokenize(pb.TokenizeRequest(text="a"), timeout=PATIENCE_SECONDS)
            process.terminate()
            _, log = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 0)
        lines = log.decode().splitlines()
        self.assertLess(len(lines), num_rpcs)
        dropped = re.findall(r"(\d+) log lines were dropped", log.decode())
        self.assertEqual(len(dropped), 1)
        answered = sum("method=Tokenize code=OK" in line for line in lines)
        self.assertGreaterEqual(answered + int(dropped[0]), num_rpcs)


if __name__ == "__main__":
    unittest.main(verbosity=2)
