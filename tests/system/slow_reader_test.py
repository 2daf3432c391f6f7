"""Clients that stop reading, read next to nothing, or die: each costs the daemon a bounded amount of memory for a
bounded time, and the streams beside it nothing."""
import signal
import socket
import subprocess
import sys
import threading
import unittest

import grpc

import daemon
from daemon import Details, long_request, pb, request, stubborn_channel, wait_until
from raw_http2 import DATA, HEADERS, RST_STREAM, RawClient

MAX_TOKENS = 1900
PENDING_BYTES = 32 << 10
FLAGS = ("--max-pending-bytes", str(PENDING_BYTES))
# The cost of one stuck stream: its pending output, what HTTP/2's window let go, and the allocator's habits.
MAX_GROWTH_BYTES = 8 << 20

READER = """
import sys, grpc
sys.path[:0] = sys.argv[2:]
from latentd.v1 import generation_pb2 as pb, generation_pb2_grpc
channel = grpc.insecure_channel(sys.argv[1], [("grpc.http2.bdp_probe", 0)])  # windows stay small
call = generation_pb2_grpc.GenerationStub(channel).Generate(pb.GenerateRequest.FromString(sys.stdin.buffer.read()))
for event in call:
    print(event.WhichOneof("event"), flush=True)
"""


def large_request(seed=7):
    """Its answer is larger than all windows and bounds together."""
    message = long_request(seed=seed, max_tokens=MAX_TOKENS)
    message.output.logprobs = 32
    return message


def probe_request():
    return request(max_tokens=32, stopping=pb.Stopping(ignore_eos=True, max_tokens=32))


class ReaderProcess:
    """A gRPC client in a process of its own, which can be stopped and killed."""

    def __init__(self, server, message):
        self.process = subprocess.Popen([sys.executable, "-c", READER, server.address, str(daemon.STUBS)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.process.stdin.write(message.SerializeToString())
        self.process.stdin.close()

    def await_delta(self):
        assert self.process.stdout.readline() == b"started\n"
        assert self.process.stdout.readline() == b"delta\n"

    def end(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(daemon.PATIENCE_SECONDS)
        self.process.stdout.close()


class Trickle:
    """Reads one byte a second of whatever comes."""

    def __init__(self, client):
        self.client, self.stop = client, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.wait(1.0):
            if not self.client.socket.recv(1):
                return

    def end(self):
        self.stop.set()
        self.thread.join()


class SlowReaderTest(unittest.TestCase):
    def setUp(self):
        self.server = daemon.Daemon("--slow-consumer-seconds", "4", *FLAGS)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.expected = self.server.once(probe_request()).text
        self.delivered_to_probes = self.server.sum("generated_tokens_total", outcome="delivered")
        self.blocks = self.server.available_blocks()
        self.resident = self.server.resident_bytes()

    def probe(self):
        self.assertEqual(self.server.once(probe_request()).text, self.expected)
        self.delivered_to_probes += 32

    def victim_tokens(self):
        return self.server.sum("generated_tokens_total") - self.delivered_to_probes

    def await_pause(self):
        """A running sequence has a token in each step of the probe beside it; a paused one in none."""
        while True:
            before = self.victim_tokens()
            self.probe()
            if before > 0 and self.victim_tokens() == before:
                return

    def num_slow(self):
        return self.server.sum("requests_finished_total", reason="SLOW_CONSUMER")

    def assert_pauses_and_ends(self, num_slow=1):
        self.await_pause()
        self.assertEqual(self.server.sum("requests_in_flight"), 1, "the reader was not given up yet")
        self.assertGreater(self.server.sum("kv_blocks", state="active"), 0)
        self.assertLess(self.victim_tokens(), MAX_TOKENS)
        self.assertLess(self.server.resident_bytes(), self.resident + MAX_GROWTH_BYTES)
        wait_until(lambda: self.num_slow() == num_slow, "the reader is given up")
        self.probe()
        self.server.wait_until_idle()
        self.assertEqual(self.server.available_blocks(), self.blocks)
        self.assertLess(self.server.resident_bytes(), self.resident + MAX_GROWTH_BYTES)

    def stalled_call(self):
        channel = stubborn_channel(self.server)
        self.addCleanup(channel.close)
        call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(large_request())
        next(call)
        return call

    def test_client_that_stops_reading(self):
        call = self.stalled_call()
        self.assert_pauses_and_ends()
        call.cancel()

    def test_client_that_reads_on_in_time_learns_how_much_it_left(self):
        for attempt in range(1, 4):  # its time is short, and this process may be slow
            call = self.stalled_call()
            wait_until(lambda: self.num_slow() == attempt, "the reader is given up")
            with self.assertRaises(grpc.RpcError) as caught:
                for _ in call:
                    pass
            details = Details(caught.exception)
            if details.code != grpc.StatusCode.CANCELLED:
                break
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER"))
        self.assertGreater(int(details.metadata["buffered_bytes"]), 1024)
        self.assertLess(int(details.metadata["buffered_bytes"]), 1 << 20)

    def test_client_that_reads_one_byte_a_second(self):
        with RawClient(self.server.address) as client:
            client.call("Generate", large_request())
            trickle = Trickle(client)
            self.addCleanup(trickle.end)
            self.assert_pauses_and_ends()
            trickle.end()

    def test_client_stopped_by_a_signal(self):
        reader = ReaderProcess(self.server, large_request())
        self.addCleanup(reader.end)
        reader.await_delta()
        reader.process.send_signal(signal.SIGSTOP)
        self.assert_pauses_and_ends()

    def test_short_answer_that_nobody_reads(self):
        with RawClient(self.server.address, window=10) as client:
            client.call("Generate", request(max_tokens=4))
            wait_until(lambda: self.server.sum("requests_in_flight", phase="output") == 1, "the engine is done")
            self.assertEqual(self.server.sum("kv_blocks", state="active"), 0)
            self.probe()
            wait_until(lambda: self.num_slow() == 1, "the reader is given up")
            client.read_until(RST_STREAM)
        self.server.wait_until_idle()

    def test_single_answer_that_nobody_reads_is_taken_away(self):
        with RawClient(self.server.address, window=10) as client:
            client.call("GenerateOnce", request(max_tokens=64))
            client.read_until(HEADERS)
            self.probe()
            client.read_until(DATA)
            client.read_until(RST_STREAM)
            self.probe()
        self.server.wait_until_idle()

    def test_reader_that_takes_sips_in_time_gets_all(self):
        call, tokens = self.stalled_call(), 0

        def take_one():
            nonlocal tokens
            event = next(call, None)
            if event is not None and event.HasField("delta"):
                tokens += len(event.delta.logprobs)
                self.assertEqual(tokens, event.delta.tokens_so_far)
            return event is not None

        for _ in range(3):
            self.await_pause()
            paused_at = self.victim_tokens()
            wait_until(lambda: take_one() and self.victim_tokens() > paused_at, "a sip lets the sequence go on")
        while take_one():
            pass
        self.assertEqual(tokens, MAX_TOKENS)
        self.assertEqual(self.num_slow(), 0)


class BrokenClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = daemon.Daemon(*FLAGS)
        cls.server.__enter__()
        cls.expected = cls.server.once(probe_request()).text

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def setUp(self):
        self.files = self.server.num_files()

    def assert_serves_on(self):
        self.assertEqual(self.server.once(probe_request()).text, self.expected)
        self.server.wait_until_idle()
        wait_until(lambda: self.server.num_files() <= self.files, "every file descriptor is back")
        self.assertIsNone(self.server.process.poll())

    def start_raw_stream(self):
        client = RawClient(self.server.address)
        client.call("Generate", large_request())
        client.read_until(DATA)
        return client

    def num_cancelled(self):
        return self.server.sum("requests_finished_total", grpc_code="CANCELLED")

    def assert_cancels(self, action):
        before = self.num_cancelled()
        action()
        wait_until(lambda: self.num_cancelled() == before + 1, "the request of the dead client is cancelled")

    def test_killed_client(self):
        reader = ReaderProcess(self.server, large_request())
        reader.await_delta()
        self.assert_cancels(reader.end)
        self.assert_serves_on()

    def test_connection_reset(self):
        client = self.start_raw_stream()
        self.assert_cancels(client.reset_connection)
        self.assert_serves_on()

    def test_half_closed_connection(self):
        with self.start_raw_stream() as client:
            self.assert_cancels(lambda: client.socket.shutdown(socket.SHUT_WR))
        self.assert_serves_on()

    def test_bytes_that_are_no_http2(self):
        hello = bytes.fromhex("16030100310100002d0303") + bytes(32) + bytes.fromhex("000006130113021303 0100".replace(
            " ", ""))
        for name, sent in (("zeros", bytes(4096)), ("noise", bytes(range(256)) * 64),
                           ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), ("TLS", hello),
                           ("preface, then noise", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(range(255, 0, -1)) * 8)):
            with self.subTest(name):
                host, port = self.server.address.rsplit(":", 1)
                with socket.create_connection((host, int(port)), daemon.PATIENCE_SECONDS) as client:
                    try:
                        client.sendall(sent)
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(4096):
                            pass
                    except OSError:
                        pass  # a reset is an answer, too
                self.assert_serves_on()

    def test_connections_that_say_nothing(self):
        host, port = self.server.address.rsplit(":", 1)
        silent = [socket.create_connection((host, int(port)), daemon.PATIENCE_SECONDS) for _ in range(32)]
        self.assertEqual(self.server.once(probe_request()).text, self.expected)
        for client in silent:
            client.close()
        self.assert_serves_on()


if __name__ == "__main__":
    unittest.main(verbosity=2)
