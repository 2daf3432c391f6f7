"""The metrics port: what it answers beside metrics, and that no client keeps it from answering another."""
import contextlib
import resource
import select
import socket
import time
import unittest

import daemon
from daemon import Daemon, PATIENCE_SECONDS, http_get, wait_until
from loading_daemon import LoadingDaemon

HEAD = b"GET /metrics HTTP/1.1\r\nHost: a\r\n"


class AnswersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Daemon())

    def test_metrics_name_their_format(self):
        status, body, answer = http_get(self.server, "/metrics")
        self.assertEqual((status, answer.headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertEqual(int(answer.headers["Content-Length"]), len(body))
        self.assertIn(b"\nlatentd_state", body)

    def test_head_gives_the_length_only(self):
        for path in ("/metrics", "/health", "/ready"):
            status, body, answer = http_get(self.server, path, "HEAD")
            self.assertEqual((status, body), (200, b""))
            self.assertGreater(int(answer.headers["Content-Length"]), 0)

    def test_other_paths_and_methods_are_refused(self):
        for path in ("/", "/metric", "/metrics/", "/../metrics", "//metrics", "/favicon.ico"):
            self.assertEqual(http_get(self.server, path)[0], 404, path)
        for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
            status, _, answer = http_get(self.server, "/metrics", method)
            self.assertEqual((status, answer.headers["Allow"]), (405, "GET, HEAD"), method)

    def test_health_and_readiness(self):
        self.assertEqual(http_get(self.server, "/health")[:2], (200, b"alive\n"))
        self.assertEqual(http_get(self.server, "/ready")[:2], (200, b"ready\n"))

    def raw(self, text):
        with socket.create_connection(self.server.metrics_address.split(":"), PATIENCE_SECONDS) as client:
            client.sendall(text)
            answer = b""
            while part := client.recv(65536):
                answer += part
            return answer

    def test_pipelined_requests_are_answered_in_turn(self):
        answer = self.raw(b"GET /health HTTP/1.1\r\n\r\nGET /ready HTTP/1.1\r\n\r\n" * 50 +
                          b"GET /nothing HTTP/1.0\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK"), 100)
        self.assertLess(answer.find(b"alive"), answer.find(b"ready"))
        self.assertTrue(answer.endswith(b"404 Not Found\n"))

    def test_large_head_and_body_are_refused_and_the_answer_arrives(self):
        self.assertTrue(self.raw(HEAD + b"A: " + b"a" * 100_000).startswith(b"HTTP/1.1 431 "))
        self.assertTrue(self.raw(b"POST /metrics HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
                        .startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").startswith(b"HTTP/1.1 400 "))


class ReadinessTest(unittest.TestCase):
    def test_readiness_follows_the_model_and_the_drain(self):
        with LoadingDaemon("--drain-seconds", "3600") as server:
            self.assertEqual(http_get(server, "/health")[:2], (200, b"alive\n"))
            self.assertEqual(http_get(server, "/ready")[:2], (503, b"loading\n"))
            server.resume()
            wait_until(lambda: http_get(server, "/ready")[:2] == (200, b"ready\n"), "it is ready")
            call = server.generation.Generate(daemon.held_request("held"))
            next(call)
            server.process.terminate()
            wait_until(lambda: http_get(server, "/ready")[:2] == (503, b"draining\n"), "it drains")
            self.assertEqual(http_get(server, "/health")[0], 200)
            call.cancel()
            self.assertEqual(server.process.wait(PATIENCE_SECONDS), 0)


class HostileClientsTest(unittest.TestCase):
    """Each of them stays for as long as the test: others are answered all the same."""

    NUM_IDLE = 2000

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Daemon())

    def connect(self, text=b""):
        client = socket.create_connection(self.server.metrics_address.split(":"), PATIENCE_SECONDS)
        self.addCleanup(client.close)
        client.sendall(text)
        return client

    def test_half_written_requests_delay_no_other(self):
        """Answers come before any of them is given up; on a busy machine not at every try."""
        def answers_meanwhile():
            held = [self.connect(HEAD) for _ in range(40)]
            for _ in range(10):
                self.assertEqual(http_get(self.server, "/metrics")[0], 200)
            return not select.select(held, [], [], 0)[0]
        self.assertTrue(any(answers_meanwhile() for _ in range(5)))

    def test_half_written_request_is_given_up(self):
        client = self.connect(HEAD)
        self.assertEqual(client.recv(1), b"", "the connection is closed")

    def test_slow_readers_delay_no_other(self):
        for _ in range(20):
            self.connect((HEAD + b"\r\n") * 30)  # 6 MB that wait, more than sockets take
        for _ in range(10):
            self.assertEqual(http_get(self.server, "/metrics")[0], 200)

    def test_endless_pipelines_delay_no_other(self):
        clients = [self.connect() for _ in range(60)]
        for client in clients:
            client.setblocking(False)
        for _ in range(10):
            for client in clients:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    client.send((HEAD + b"\r\n") * 400)
                    client.recv(1 << 20)
            self.assertEqual(http_get(self.server, "/metrics")[0], 200)

    def test_thousands_of_idle_connections_cost_neither_descriptors_nor_threads(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.NUM_IDLE + 200
        if hard != resource.RLIM_INFINITY and hard < wanted:
            self.skipTest(f"SKIPPED the hard limit of descriptors is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        files, threads = self.server.num_files(), self.server.metrics()["process_threads"]
        for _ in range(self.NUM_IDLE):
            self.connect()
        self.assertEqual(http_get(self.server, "/metrics")[0], 200)
        self.assertLess(self.server.num_files() - files, 100)
        self.assertEqual(self.server.metrics()["process_threads"], threads)


class ExitTest(unittest.TestCase):
    def test_idle_daemon_does_not_wait_for_its_own_threads(self):
        """The quickest of some: on a busy machine one may take long. It took 1.4 s at least while a thread polled."""
        def seconds_to_exit():
            server = Daemon()
            with server:
                http_get(server, "/metrics")
                before = time.monotonic()
                server.process.terminate()
                server.process.wait(PATIENCE_SECONDS)
                return time.monotonic() - before
        self.assertTrue(any(seconds_to_exit() < 1.0 for _ in range(10)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
