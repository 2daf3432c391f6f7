"""Clients that send half of a request, read nothing, or send far too much, under a memory limit: each costs the daemon
a bounded amount of memory for a bounded time, and its neighbours next to nothing."""
import concurrent.futures
import contextlib
import gzip
import pathlib
import unittest
import zlib

import grpc

import daemon
import laws
from cgroup import Cgroup, memory_limit
from daemon import pb, request, wait_until
from hostile_peers import Peer
from neighbour import Neighbour
from raw_http2 import RawClient, framed
from transfers import detokenize_request, failure

LIMIT_BYTES = 512 << 20
BUDGET_BYTES = 64 << 20  # an eighth of the limit, as the daemon takes it by itself where it sees one
MESSAGE_BYTES = 4 << 20
# Bytes that are not counted: 64 KiB unread for each RPC, gRPC's and the allocator's habits.
SLACK_BYTES = 64 << 20
HOME_BYTES = 30 << 20


def forget_peak(server):
    pathlib.Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


class IsolationTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            cls.enter = cls.enterClassContext(Cgroup("memory", **memory_limit(LIMIT_BYTES))).enter
        except unittest.SkipTest as reason:
            cls.enter = ()
            print(f"SKIPPED the memory limit, the peak alone is looked at: {reason}")
        cls.server = cls.enterClassContext(daemon.Daemon(
            "--slow-consumer-seconds", "3", "--max-buffered-bytes", str(BUDGET_BYTES), "--kv-blocks", "200",
            under=cls.enter))
        cls.server.once(request())
        cls.home = cls.server.resident_bytes()

    def setUp(self):
        forget_peak(self.server)
        self.before = self.server.resident_bytes()

    def tearDown(self):
        """Whatever the attack was: all is home, and counted."""
        self.server.wait_until_idle()
        wait_until(lambda: self.server.sum("buffered_bytes") == 0, "all bytes are home")
        self.assertEqual(laws.violations(self.server.metrics()), [])
        wait_until(lambda: self.server.resident_bytes() < self.home + HOME_BYTES, "memory is given back")

    def assert_peak_below(self, num_bytes):
        grown = self.server.peak_bytes() - self.before
        print(f"{self.id().split('.')[-1]}: peak +{grown / 1e6:.0f} MB")
        self.assertLess(grown, num_bytes)

    def finished(self, reason):
        return self.server.sum("requests_finished_total", reason=reason)

    def test_half_sent_requests_of_eighty_peers(self):
        body = framed(bytes(MESSAGE_BYTES - 5))[:-1]
        before = self.finished("SLOW_SENDER") + self.finished("INTAKE_FULL")
        largest = 0

        def upload(client):
            client.begin("Tokenize")
            return client.send_body(body, patience=1, end=0)

        with Neighbour(self.server), contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawClient(self.server.address)) for _ in range(80)]
            with concurrent.futures.ThreadPoolExecutor(80) as pool:
                sent = [pool.submit(upload, client) for client in clients]
                while not all(future.done() for future in sent):
                    held = self.server.sum("buffered_bytes", kind="requests")
                    self.assertLessEqual(held, self.server.sum("buffered_bytes_capacity", kind="requests"))
                    largest = max(largest, held)
            self.assertGreater(largest, MESSAGE_BYTES, "they are seen in the metrics")
            wait_until(lambda: self.finished("SLOW_SENDER") + self.finished("INTAKE_FULL") == before + 80,
                       "each of them is ended although its connection stays")
        self.assert_peak_below(BUDGET_BYTES + SLACK_BYTES)

    def test_unread_answers(self):
        message = detokenize_request(self.server, 3 << 20)
        before = self.finished("SLOW_CONSUMER")
        with Neighbour(self.server), contextlib.ExitStack() as stack:
            for _ in range(12):
                client = stack.enter_context(RawClient(self.server.address, window=10))
                client.begin("Detokenize")
                client.send_body(framed(message.SerializeToString()))
            wait_until(lambda: self.finished("SLOW_CONSUMER") == before + 12, "each answer is taken back")
        self.assert_peak_below(BUDGET_BYTES + SLACK_BYTES)

    def test_text_far_beyond_the_context(self):
        """Arabic, 4 MB, as eight clients sent it: the size tells that it cannot fit."""
        message = pb.TokenizeRequest(text="\u0645\u0631\u062d\u0628\u0627 " * 370_000)
        used = self.server.metrics()["process_cpu_seconds_total"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            details = list(pool.map(lambda _: failure(lambda: self.server.generation.Tokenize(message)), range(16)))
        self.assertEqual({one.reason for one in details}, {"CONTEXT_LENGTH_EXCEEDED"})
        self.assertEqual({one.metadata["limit"] for one in details}, {"2048"})
        self.assertGreater(int(details[0].metadata["prompt_tokens"]), 2048)
        self.assertLess(self.server.metrics()["process_cpu_seconds_total"] - used, 4.0, "30 s before")
        self.assert_peak_below(BUDGET_BYTES + SLACK_BYTES)

    def test_message_that_unpacks_to_a_hundred_times_its_size(self):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = packer.compress(bytes(400 << 20)) + packer.flush()
        with RawClient(self.server.address) as client:
            client.begin("Tokenize", encoding="gzip")
            client.send_body(framed(packed, compressed=1))
            wait_until(lambda: self.finished("MESSAGE_TOO_LARGE") > 0, "it is refused")
        self.assert_peak_below(SLACK_BYTES)

    def test_gzip_of_a_well_behaved_client_is_read(self):
        text = "Once upon a time there was a king. " * 40
        plain = self.server.generation.Tokenize(pb.TokenizeRequest(text=text))
        with grpc.insecure_channel(self.server.address, compression=grpc.Compression.Gzip) as channel:
            packed = daemon.generation_pb2_grpc.GenerationStub(channel).Tokenize(pb.TokenizeRequest(text=text))
        self.assertEqual(packed.token_ids, plain.token_ids)

    def test_compression_is_what_flag_and_headers_say(self):
        """A message is unpacked where its flag and its headers say so, taken as it is where neither does, and never
        guessed at."""
        plain = pb.TokenizeRequest(text="a").SerializeToString()
        packed = gzip.compress(plain)
        for encoding, flag, body, status in (("gzip", 1, packed, "0"), ("gzip", 0, plain, "0"), ("gzip", 1, plain, "3"),
                                             ("gzip", 0, packed, "3"), (None, 0, packed, "3"), (None, 1, plain, "12"),
                                             (None, 1, packed, "12"), ("zstd", 1, plain, "12")):
            with self.subTest(encoding, flag=flag, status=status), RawClient(self.server.address) as client:
                client.begin("Tokenize", encoding=encoding)
                client.send_body(framed(body, compressed=flag))
                self.assertIn(f"grpc-status{chr(len(status))}{status}".encode(), client.read_until_end())

    def test_message_over_the_limit(self):
        for size, code in ((MESSAGE_BYTES, "CONTEXT_LENGTH_EXCEEDED"), (MESSAGE_BYTES + 1, "MESSAGE_TOO_LARGE")):
            message = pb.TokenizeRequest(text="a" * (size - 5))
            self.assertEqual(message.ByteSize(), size)
            self.assertEqual(failure(lambda: self.server.generation.Tokenize(message)).reason, code)

    def test_client_that_leaves_is_counted_as_such(self):
        """Valid calls cancelled, or whose connection ends, at once, and uploads cut: none is malformed."""
        malformed, cancelled = self.finished("INVALID_FIELD"), self.finished("CLIENT_CANCEL")
        received = self.server.sum("requests_received_total")
        for _ in range(300):
            self.server.generation.Generate(request()).cancel()
        for _ in range(200):
            with RawClient(self.server.address) as client:
                client.call("Generate", request())
        for _ in range(20):
            with RawClient(self.server.address) as client:
                client.begin("Score")
                client.send_body(framed(bytes(1000))[:500], end=0)
                seen = self.server.sum("requests_received_total")
                client.reset_connection()
        wait_until(lambda: self.finished("CLIENT_CANCEL") >= cancelled + 20, "the cut uploads are counted")
        self.server.wait_until_idle()
        self.assertGreaterEqual(seen, received + 20)
        self.assertEqual(self.finished("INVALID_FIELD"), malformed)

    def test_deadlines_beyond_any_clock_are_none(self):
        """As far away as the protocol can say."""
        done = self.server.sum("requests_finished_total", grpc_code="OK")
        for timeout in ("9000000H", "99999999H", "99999999M"):
            with RawClient(self.server.address) as client:
                client.begin("Tokenize", timeout=timeout)
                client.send_body(framed(pb.TokenizeRequest(text="a").SerializeToString()))
                self.assertIn(b"grpc-status\x010", client.read_until_end())
        self.assertEqual(self.server.sum("requests_finished_total", grpc_code="OK"), done + 3)

    def test_answer_is_announced_before_it_is_computed(self):
        """The bound that the refusal names is the edge, and nothing is computed below it."""
        message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=[0] + [1900] * 500), top_logprobs=32)

        def score(num_bytes):
            return self.server.generation.Score(message, metadata=(("latentd-max-answer-bytes", str(num_bytes)),))

        computed = self.server.sum("prompt_tokens_total")
        details = failure(lambda: score(1))
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.INVALID_ARGUMENT, "ANSWER_TOO_LARGE"))
        self.assertEqual(details.fields, ["top_logprobs"])
        bound = int(details.metadata["answer_bytes"])
        self.assertEqual(failure(lambda: score(bound - 1)).metadata["answer_bytes"], str(bound))
        self.assertEqual(self.server.sum("prompt_tokens_total"), computed, "nothing was computed")
        size = score(bound).ByteSize()
        self.assertLessEqual(size, bound)
        self.assertGreater(size, 0.9 * bound - 4096, "and the bound is no wild guess")
        self.assertEqual(failure(lambda: score("much")).reason, "INVALID_FIELD")

    def test_large_texts_are_announced_too(self):
        """A megabyte of ids may stand for a hundred of text: their sizes are added up before any is made."""
        token = self.server.generation.Tokenize(pb.TokenizeRequest(text=" astonishment", add_special_tokens=False))
        text = pb.DetokenizeRequest(token_ids=[token.token_ids[0]] * (1 << 20))
        ids = pb.TokenizeRequest(text="a b" * 10_000)

        def limited(call, message, num_bytes):
            return call(message, metadata=(("latentd-max-answer-bytes", str(num_bytes)),))

        for call, message, field in ((self.server.generation.Detokenize, text, "token_ids"),
                                     (self.server.generation.Tokenize, ids, "text")):
            with self.subTest(field=field):
                details = failure(lambda: limited(call, message, 1000))
                self.assertEqual((details.reason, details.fields), ("ANSWER_TOO_LARGE", [field]))
                size = int(details.metadata["answer_bytes"])
                self.assertEqual(failure(lambda: limited(call, message, size - 1)).reason, "ANSWER_TOO_LARGE")
                if size < MESSAGE_BYTES:
                    self.assertEqual(limited(call, message, size).ByteSize(), size)
        self.assert_peak_below(SLACK_BYTES)


class PatientTest(unittest.TestCase):
    """By a daemon whose patience outlasts the sending of any number of requests on any machine."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(daemon.Daemon(
            "--slow-consumer-seconds", "3600", "--max-buffered-bytes", str(BUDGET_BYTES), "--kv-blocks", "200",
            "--admin-listen", "127.0.0.1:0"))
        cls.server.once(request())

    def tearDown(self):
        wait_until(lambda: self.server.sum("buffered_bytes") == 0, "all bytes are home")
        self.assertEqual(laws.violations(self.server.metrics()), [])

    def finished(self, reason):
        return self.server.sum("requests_finished_total", reason=reason)

    def test_answers_beyond_the_budget_are_refused(self):
        message = detokenize_request(self.server, 3 << 20)
        forget_peak(self.server)
        resident = self.server.resident_bytes()
        refused = self.finished("ANSWERS_FULL")
        with contextlib.ExitStack() as stack:
            for _ in range(BUDGET_BYTES // (3 << 20) + 3):
                client = stack.enter_context(RawClient(self.server.address, window=10))
                client.begin("Detokenize")
                client.send_body(framed(message.SerializeToString()))
            wait_until(lambda: self.finished("ANSWERS_FULL") > refused, "some find no room")
            self.assertLessEqual(self.server.sum("buffered_bytes", kind="answers"), BUDGET_BYTES)
        self.assertLess(self.server.peak_bytes() - resident, 2 * BUDGET_BYTES + SLACK_BYTES)

    def test_unread_answers_of_others_make_room(self):
        """Two addresses leave all that there is room for unread: small answers, large ones and the operators arrive."""
        message = detokenize_request(self.server, 3 << 20)
        refused = self.finished("ANSWERS_FULL")
        with contextlib.ExitStack() as stack:
            for i in range(BUDGET_BYTES // (3 << 20) + 3):
                peer = stack.enter_context(Peer(self.server.address, f"127.0.0.{2 + i % 2}", window=0))
                peer.call("/latentd.v1.Generation/Detokenize", message)
            wait_until(lambda: self.finished("ANSWERS_FULL") > refused, "there is no room")
            self.assertTrue(self.server.generation.Tokenize(pb.TokenizeRequest(text="a b")).token_ids)
            self.assertTrue(self.server.once(request()).text)
            self.assertGreater(len(self.server.generation.Detokenize(message).text), 2 << 20)
            self.server.admin.GetLoad(daemon.admin_pb2.GetLoadRequest())

    def test_silent_connections_delay_nobody(self):
        """Each begins a request and sends nothing of it: a small one needs no place, and a large one gets the place of
        one that is silent."""
        slow = self.finished("SLOW_SENDER")
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(RawClient(self.server.address)).begin("Score")
            wait_until(lambda: self.server.sum("requests_in_flight") == 40, "they are there, and no place is left")
            self.assertTrue(self.server.once(request()).text)
            self.assertEqual(self.finished("SLOW_SENDER"), slow)
            self.assertEqual(failure(lambda: self.server.generation.Tokenize(pb.TokenizeRequest(text="a" * 200_000)))
                             .reason, "CONTEXT_LENGTH_EXCEEDED")
            self.assertGreater(self.finished("SLOW_SENDER"), slow)


if __name__ == "__main__":
    unittest.main(verbosity=2)
