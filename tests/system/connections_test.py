"""Connections: how many there may be, where they come from, how long they may be quiet. 12 s."""
import array
import contextlib
import fcntl
import os
import resource
import socket
import struct
import subprocess
import tempfile
import termios
import unittest

import grpc

import daemon
from daemon import Daemon, http_get, long_request, request, wait_until
from raw_http2 import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, WINDOW_UPDATE, RawClient,
                       frame, framed, request_headers)
from transfers import detokenize_request

STREAMS = 8  # their output is more than the kernel holds for a connection


class LimitedDaemon(Daemon):
    """Under limits of open files, soft and hard."""

    def __init__(self, soft, hard, *flags):
        limits = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
        super().__init__(*flags, under=["/bin/sh", "-c", limits, "sh"])


def connect(server):
    host, port = server.address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), daemon.PATIENCE_SECONDS)


def fresh_health(server):
    """Over a connection of its own."""
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda m: m, lambda m: m)
        return check(b"", timeout=daemon.PATIENCE_SECONDS, wait_for_ready=True)[1]


class DescriptorTest(unittest.TestCase):
    def test_a_storm_of_connections_leaves_nothing_behind(self):
        """A1: more connections than there are descriptors, opened and closed again and again."""
        for soft, hard, storm, cycles in ((128, 128, 160, 10), (64, 256, 300, 4), (1024, 1024, 1100, 1)):
            with self.subTest(soft=soft, hard=hard), LimitedDaemon(soft, hard) as server:
                before = server.num_files()
                for _ in range(cycles):
                    clients = [connect(server) for _ in range(storm)]
                    for client in clients:
                        client.close()
                    self.assertEqual(fresh_health(server), 1)
                wait_until(lambda: server.num_files() <= before + 2, "every descriptor is back")
                self.assertEqual(server.health(), 1)

    def test_idle_connections_do_not_keep_others_out(self):
        """D6: while more connections than may be are held open, a neighbour is served, and what is beyond is closed."""
        with LimitedDaemon(1024, 1024, "--max-connections-per-peer", "800") as server:
            self.assertEqual(server.health(), 1)
            clients = [connect(server) for _ in range(1084)]
            wait_until(lambda: server.sum("connections_refused_total", reason="peer_limit") >= 284, "they are refused")
            self.assertEqual(server.sum("connections", listener="api"), 800)
            self.assertTrue(server.once(request(max_tokens=4)).text)
            self.assertEqual(server.health(), 1)
            for client in clients:
                client.close()
            self.assertEqual(fresh_health(server), 1)

    def test_the_soft_limit_is_raised(self):
        with LimitedDaemon(64, 512) as server:
            self.assertEqual(server.metrics()["process_max_fds"], 512)

    def test_readiness_and_metrics_tell_of_a_lack_of_descriptors(self):
        """They are answered all the same, over new connections as those of an orchestrator's probes.

        Not under sanitizers: they look at memory through a pipe, for which there is no descriptor either."""
        with Daemon() as server, contextlib.ExitStack() as clients:
            pid = server.process.pid
            self.assertEqual(server.health(), 1)
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            # Room for what is open now, and for as many clients as there are gaps between.
            highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))

            def is_unready():
                address = server.address.split(":")
                clients.enter_context(socket.create_connection(address, daemon.PATIENCE_SECONDS))
                return http_get(server, "/ready")[:2] == (503, b"accepts no connections\n")
            wait_until(is_unready, "it is not ready")
            self.assertEqual((server.health(), server.health("latentd.liveness")), (2, 1))
            self.assertEqual(http_get(server, "/health")[:2], (200, b"alive\n"))
            self.assertEqual(server.sum("accepting"), 0)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            wait_until(lambda: http_get(server, "/ready")[:2] == (200, b"ready\n"), "it is ready again")
            self.assertEqual((server.health(), server.sum("accepting")), (1, 1))
            self.assertEqual(server.log_text().count("none can be accepted"), 1)


class LimitTest(unittest.TestCase):
    def test_knobs_bound_connections(self):
        with Daemon("--max-connections", "4", "--admin-listen", "127.0.0.1:0") as server:
            self.assertEqual(server.health(), 1)  # this test's own connection
            clients = [connect(server) for _ in range(2)]
            with connect(server) as refused:
                received = b"".join(iter(lambda: refused.recv(256), b""))
            self.assertIn(b"too many connections", received)
            self.assertEqual(server.sum("connections_refused_total", reason="process_limit"), 0)
            self.assertEqual(server.sum("connections_refused_total", reason="peer_limit"), 1)
            server.admin.GetLoad(daemon.admin_pb2.GetLoadRequest())  # whose connections are counted apart
            for client in clients:
                client.close()
            self.assertEqual(fresh_health(server), 1)

    def test_silent_connections_are_closed(self):
        with Daemon() as server, connect(server) as client:
            client.settimeout(daemon.PATIENCE_SECONDS)
            while client.recv(256):  # its SETTINGS, then, after ten seconds, the end
                pass


class AddressTest(unittest.TestCase):
    def assert_serves(self, server):
        self.assertTrue(server.once(request(max_tokens=4)).text)
        for arguments in (["health", "--server", server.address], ["status", "--admin", server.admin_address]):
            run = subprocess.run([daemon.BIN / "latentctl", *arguments], capture_output=True, text=True,
                                 timeout=daemon.PATIENCE_SECONDS)
            self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("latentd_state", "".join(server.metrics()))
        load = subprocess.run([daemon.BIN / "latentctl", "load", "--server", server.address, "--requests", "4",
                               "--prompt-tokens", "4", "--output-tokens", "4", "--check", "--metrics",
                               server.metrics_address],
                              capture_output=True, text=True, timeout=daemon.PATIENCE_SECONDS)
        self.assertEqual(load.returncode, 0, load.stdout + load.stderr)

    def test_grpc_listeners_take_ipv6(self):
        """A6"""
        with Daemon("--listen", "[::1]:0", "--admin-listen", "[::1]:0") as server:
            self.assertRegex(server.address, r"^\[::1\]:\d+$")
            self.assertRegex(server.admin_address, r"^\[::1\]:\d+$")
            self.assert_serves(server)
            self.assertIn("peer=ipv6:[::1]:", server.await_log(r"peer=\S+").group())

    def test_what_the_port_file_says_can_be_dialled(self):
        for host in ("0.0.0.0", "[::]", "localhost"):
            with self.subTest(host), Daemon("--insecure", "--listen", f"{host}:0", "--admin-listen",
                                                 "127.0.0.1:0") as server:
                self.assertRegex(server.address, r"^127.0.0.1:\d+$")
                self.assert_serves(server)

    def test_unix_sockets_come_and_go_with_the_daemon(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            api, admin = f"{folder}/api.sock", f"{folder}/admin.sock"
            with Daemon("--listen", f"unix:{api}", "--admin-listen", f"unix://{admin}") as server:
                self.assertEqual((server.address, server.admin_address), (f"unix:{api}", f"unix:{admin}"))
                self.assert_serves(server)
                self.assertIn("peer=unix:", server.await_log(r"peer=\S+").group())
                second = daemon.run("--model", str(daemon.MODEL), "--listen", f"unix:{api}")
                self.assertEqual((second.returncode, second.stderr.count("\n")), (1, 1), second.stderr)
                self.assertIn("another process listens there", second.stderr)
                self.assertEqual(server.health(), 1)
            self.assertEqual(os.listdir(folder), [])

    def test_what_is_no_address_is_refused_in_a_line(self):
        """D17, A6"""
        for flag in ("--listen", "--admin-listen", "--metrics-listen"):
            for text in ("unix:0", "*:0", "0:0", "::1:80", "127.0.0.1", "127.0.0.1:70000", "127.1:0", "unix:rel/ative"):
                with self.subTest(flag=flag, text=text):
                    run = daemon.run("--model", str(daemon.MODEL), flag, text)
                    self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
                    self.assertIn(f"{flag[2:]}: expected HOST:PORT", run.stderr)

    def test_an_address_in_use_is_told_with_the_systems_reason(self):
        with Daemon() as server:
            run = daemon.run("--model", str(daemon.MODEL), "--listen", server.address)
            self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
            self.assertIn(f"found {server.address}: Address already in use; choose another with --listen", run.stderr)

    def test_listeners_beyond_loopback_need_credentials_or_are_warned_of(self):
        """D18"""
        for flag in ("--listen", "--metrics-listen", "--admin-listen"):
            with self.subTest(flag):
                refused = daemon.run("--model", str(daemon.MODEL), flag, "0.0.0.0:0")
                self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
                self.assertIn(f"{flag}: expected credentials to be asked for", refused.stderr)
                self.assertIn("give --tokens", refused.stderr)
        refused = daemon.run("--model", str(daemon.MODEL), "--insecure", "--admin-listen", "0.0.0.0:0")
        self.assertIn("bind it to loopback or a unix socket", refused.stderr, "Admin is never open to all")
        with Daemon("--listen", "0.0.0.0:0", "--metrics-listen", "0.0.0.0:0", "--insecure") as server:
            server.await_log("serving ")
            lines = [line for line in server.log_text().splitlines() if "insecure: " in line]
            self.assertEqual(len(lines), 1, lines)
            self.assertRegex(lines[0], r" warning .*\(listen: 0\.0\.0\.0:\d+\).*\(metrics-listen: 0\.0\.0\.0:\d+\)")
        with Daemon("--admin-listen", "127.0.0.1:0") as server:
            server.await_log("serving ")
            self.assertNotIn("insecure", server.log_text())


class QuietConnectionTest(unittest.TestCase):
    def test_idle_pings_are_welcome(self):
        """A8: pings without calls, faster than any client is told to send them, never end a connection."""
        with Daemon() as server, RawClient(server.address) as client:
            seen = []
            for _ in range(6):
                client.socket.sendall(frame(PING, payload=b"attempts"))
                while True:
                    kind, flags, _ = client.read_frame()
                    seen.append(kind)
                    if kind == PING and flags & ACK:
                        break
                client.stand_still(1.2)
            self.assertNotIn(GOAWAY, seen)

    def test_a_client_that_stands_still_keeps_its_streams(self):
        """D8: longer than the keepalive's timeout once was, shorter than a slow reader's time."""
        with Daemon("--slow-consumer-seconds", "60") as server:
            with RawClient(server.address, window=1 << 30) as client:
                client.socket.sendall(frame(WINDOW_UPDATE, payload=struct.pack(">I", 1 << 30)))
                message = long_request()
                message.output.logprobs = 32
                for stream in range(1, 2 * STREAMS, 2):
                    client.call("Generate", message, stream)
                wait_until(lambda: server.sum("slow_consumer_total", action="paused") > 0, "its output waits")
                client.stand_still(8.0)
                ends = 0
                while ends < STREAMS:
                    kind, flags, _ = client.read_frame()
                    self.assertNotIn(kind, (RST_STREAM, GOAWAY))
                    ends += kind == HEADERS and flags & END_STREAM != 0
            server.wait_until_idle()
            self.assertEqual(server.sum("requests_finished_total", reason="MAX_TOKENS"), STREAMS)

    def test_an_answer_that_never_left_is_not_ok(self):
        """D8: gRPC takes an answer before the system has room for it; only what the system took was sent. A unix
        socket never takes more than net.core.wmem_default, a twentieth of the answer; buffers of TCP grow."""
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder, \
                Daemon("--slow-consumer-seconds", "3600", "--listen", f"unix:{folder}/api.sock") as server:
            message = detokenize_request(server, 3_900_000)
            client = RawClient(server.address, window=1 << 30)
            client.socket.sendall(frame(WINDOW_UPDATE, payload=struct.pack(">I", 1 << 30)))
            client.begin("Detokenize")
            client.send_body(framed(message.SerializeToString()))
            wait_until(lambda: unread_bytes(client.socket) > 10_000, "the answer begins to come")
            self.assertEqual(server.sum("requests_finished_total", method="Detokenize"), 0)
            client.reset_connection()
            wait_until(lambda: server.sum("requests_finished_total", method="Detokenize") == 1, "it is counted")
            self.assertEqual(server.sum("requests_finished_total", method="Detokenize", reason="CLIENT_CANCEL"), 1)


def unread_bytes(connection):
    found = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, found)
    return found[0]


def reflect(channel, version):
    """The names of all services, as bytes."""
    call = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                                 lambda m: m, lambda m: m)
    return next(call(iter([b"\x3a\x01*"]), timeout=daemon.PATIENCE_SECONDS))


def health_request(name):
    """grpc.health.v1.HealthCheckRequest."""
    size, prefix = len(name), b"\x0a"
    while size > 127:
        prefix, size = prefix + bytes([size & 127 | 128]), size >> 7
    return prefix + bytes([size]) + name


class IdleStreamTest(unittest.TestCase):
    """D9: streams that cost a client nothing cost no thread, and have a bound."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Daemon())

    def open_idle(self, client, path, count, body=None):
        headers = request_headers(path, client.address)
        for stream in range(1, 2 * count, 2):
            client.socket.sendall(frame(HEADERS, END_HEADERS, stream, headers) +
                                  (b"" if body is None else frame(DATA, END_STREAM, stream, body)))

    def await_ends(self, client, count):
        while count > 0:
            kind, flags, _ = client.read_frame()
            count -= kind == HEADERS and flags & END_STREAM != 0

    def assert_bounded(self, path, bound, body=None):
        threads = self.server.metrics()["process_threads"]
        with RawClient(self.server.address) as client:
            self.open_idle(client, path, bound + 100, body)
            self.await_ends(client, 100)
            self.assertLess(self.server.metrics()["process_threads"], threads + 16)
            self.assertTrue(self.server.once(request(max_tokens=4)).text)

    def test_reflection(self):
        for version in ("v1", "v1alpha"):
            self.assert_bounded(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", 64)

            def answers():
                try:
                    return b"latentd.v1.Generation" in reflect(self.server.channel, version)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            wait_until(answers, "their places are free again")

    def test_watches_of_health(self):
        self.assert_bounded("/grpc.health.v1.Health/Watch", 256, body=bytes(5))
        watch = self.server.channel.unary_stream("/grpc.health.v1.Health/Watch", lambda m: m, lambda m: m)

        def answers():
            try:
                return next(watch(b"", timeout=daemon.PATIENCE_SECONDS)) == b"\x08\x01"
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        wait_until(answers, "their places are free again")

    def test_one_connection_that_holds_all_places_makes_room(self):
        channel = self.enterContext(
            grpc.insecure_channel(self.server.address, [("grpc.use_local_subchannel_pool", 1)]))
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", lambda m: m, lambda m: m)
        check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda m: m, lambda m: m)
        with RawClient(self.server.address, window=0) as client:
            headers = [request_headers(path, client.address) for path in (
                "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")]
            for i in range(900):
                stream = 2 * i + 1
                client.socket.sendall(frame(HEADERS, END_HEADERS, stream, headers[i // 300]))
                if i < 450:  # half of the checks get an answer, which cannot leave
                    client.socket.sendall(frame(DATA, END_STREAM, stream, bytes(5)))
            self.assertEqual(next(watch(b"", timeout=daemon.PATIENCE_SECONDS)), b"\x08\x01")
            self.assertEqual(check(b"", timeout=daemon.PATIENCE_SECONDS), b"\x08\x01")
            self.assertIn(b"latentd.v1.Generation", reflect(channel, "v1"))

    def test_messages_to_health_are_small_and_may_be_compressed(self):
        check = self.server.channel.unary_unary("/grpc.health.v1.Health/Check", lambda m: m, lambda m: m)
        for name, code in ((b"n" * 1000, grpc.StatusCode.NOT_FOUND),
                           (b"n" * 10_000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            message = health_request(name)
            for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
                with self.assertRaises(grpc.RpcError) as caught:
                    check(message, timeout=daemon.PATIENCE_SECONDS, compression=compression)
                self.assertEqual(caught.exception.code(), code)

    def test_a_watch_is_told_of_the_end(self):
        with Daemon() as server:
            watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch", lambda m: m, lambda m: m)(b"")
            self.assertEqual(next(watch), b"\x08\x01")
            server.process.terminate()
            self.assertEqual(next(watch), b"\x08\x02")
            with self.assertRaises(grpc.RpcError) as caught:
                next(watch)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            server.process.wait(daemon.PATIENCE_SECONDS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
