"""One status per cause: each cause that can occur is reached by a client, with its code, reason and details."""
import hashlib
import pathlib
import re
import shutil
import tempfile
import unittest

import grpc
from google.protobuf import duration_pb2

import daemon
import transfers
from daemon import Details, MODEL, pb, long_request, request, stubborn_channel, wait_until
from doctored_model import copy_with_overflow
from loading_daemon import LoadingDaemon

BF16_MODEL = daemon.ROOT / "tests/data/tiny-tales-bf16"  # no tokenizer, no template

# Reasons that have a series but that no client can cause.
OUT_OF_REACH = {
    "ENGINE_FAULT": "validation lets nothing through that the engine refuses; a broken invariant ends the process",
}


def failure_of(call):
    """The Details of a call that fails, and whether its initial metadata came before the status."""
    try:
        list(call) if hasattr(call, "__iter__") else call.result()
    except grpc.RpcError as error:
        return Details(error)
    raise AssertionError("expected a failure, found OK")


def growing_seconds():
    """Each twice the one before: on any machine one of them ends within a phase that lasts long enough."""
    return (0.001 * 2 ** i for i in range(16))


class CausesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.daemon = cls.enterClassContext(daemon.Daemon())

    def tearDown(self):
        self.daemon.wait_until_idle()

    def failure(self, message, server=None, method="Generate"):
        server = server or self.daemon
        call = getattr(server.generation, method)(message, timeout=daemon.PATIENCE_SECONDS)
        return failure_of(call)

    def expect(self, details, code, reason):
        self.assertEqual((details.code, details.reason), (code, reason), details.message)
        self.assertEqual(details.status_code, details.code.value[0], "the details repeat the code")
        self.assertEqual(details.domain, "latentd")
        self.assertGreater(len(details.message), 20, "says what was expected, found and to do")
        REACHED.add(reason)

    # -------------------------------------------------------------------------------------------------- the request

    def test_malformed_field(self):
        details = self.failure(request(sampling=pb.Sampling(top_p=2)))
        self.expect(details, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        self.assertEqual(details.fields, ["sampling.top_p"])

    def test_prompt_over_the_context(self):
        details = self.failure(pb.GenerateRequest(token_ids=pb.TokenIds(ids=[5] * 2048)))
        self.expect(details, grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH_EXCEEDED")
        self.assertEqual(details.metadata, {"prompt_tokens": "2048", "limit": "2048"})
        self.assertEqual(details.fields, ["token_ids.ids"])

    def test_more_than_the_cache_can_ever_hold(self):
        with daemon.Daemon("--kv-blocks", "3", "--max-context-tokens", "1000") as server:
            details = self.failure(long_request(max_tokens=1000), server)
        self.expect(details, grpc.StatusCode.FAILED_PRECONDITION, "KV_CAPACITY_EXCEEDED")
        self.assertEqual(details.metadata, {"needed_blocks": "16", "total_blocks": "2"})

    def test_unknown_model(self):
        details = self.failure(request(model="gpt"))
        self.expect(details, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        self.assertEqual(details.resource, ("model", "gpt"))

    def test_unsupported_feature(self):
        details = self.failure(request(sampling=pb.Sampling(bad_words=["x"])))
        self.expect(details, grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_FEATURE")
        self.assertEqual((details.fields, details.metadata), (["sampling.bad_words"], {"field": "sampling.bad_words"}))

    def test_duplicate_request_id(self):
        live = self.daemon.generation.Generate(request(request_id="mine", stopping=long_request().stopping))
        next(live)
        details = self.failure(request(request_id="mine"))
        self.expect(details, grpc.StatusCode.ALREADY_EXISTS, "DUPLICATE_REQUEST_ID")
        self.assertEqual(details.request_id, "mine")
        live.cancel()

    # ---------------------------------------------------------------------------------------------------- the model

    def test_model_without_tokenizer(self):
        with daemon.Daemon(model=BF16_MODEL) as server:
            self.expect(self.failure(request(), server), grpc.StatusCode.FAILED_PRECONDITION, "NO_TOKENIZER")

    def test_model_without_chat_template(self):
        folder = self.folder / "no-template"
        shutil.copytree(MODEL, folder)
        config = folder / "tokenizer_config.json"
        config.write_text(config.read_text().replace('"chat_template"', '"another_key"'))
        with daemon.Daemon(model=folder) as server:
            chat = pb.ChatRequest(messages=[pb.ChatMessage(role="user", content="Hello")])
            details = self.failure(chat, server, method="Chat")
        self.expect(details, grpc.StatusCode.FAILED_PRECONDITION, "NO_CHAT_TEMPLATE")

    def test_logits_that_are_not_finite_end_their_request_and_no_other(self):
        with daemon.Daemon(model=copy_with_overflow(self.folder / "overflow")) as server:
            healthy, broken = [], []
            for token in range(200, 400, 4):
                message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[0, token]), request_id=f"r{token}",
                                             sampling=pb.Sampling(seed=1), stopping=pb.Stopping(max_tokens=1))
                try:
                    healthy.append((message, server.once(message).text))
                except grpc.RpcError as error:
                    broken.append((message, Details(error)))
            self.assertTrue(healthy and broken, "both occur")
            for message, details in broken:
                self.expect(details, grpc.StatusCode.DATA_LOSS, "NAN_LOGITS")
                self.assertEqual(details.request_id, message.request_id)
            messages = [message for pair in zip(healthy, broken) for message, _ in pair]
            expected = dict((message.request_id, text) for message, text in healthy)
            calls = [(message, server.generation.Generate(message)) for message in messages]
            for message, call in calls:
                if message.request_id in expected:
                    self.assertEqual(daemon.Answer(call).text, expected[message.request_id])
                else:
                    self.assertEqual(failure_of(call).reason, "NAN_LOGITS")

    # --------------------------------------------------------------------------------------------------- credentials

    def test_credentials(self):
        tokens = self.folder / "tokens"
        tokens.write_text(f"scraper {hashlib.sha256(b'secret').hexdigest()} ops metrics\n")
        with daemon.Daemon("--tokens", tokens) as server:
            self.expect(self.failure(request(), server), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
            details = failure_of(server.generation.Generate(request(), metadata=[("authorization", "Bearer secret")]))
            self.expect(details, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            self.assertEqual(details.metadata, {"right": "generate"})

    # ---------------------------------------------------------------------------------------------------- the queue

    def fill(self, server, message, count):
        """Occupies the server with requests that go on; those refused are returned."""
        calls, refusals = [], []
        for _ in range(count):
            call = server.generation.Generate(message)
            if "latentd-request-id" in dict(call.initial_metadata()):
                calls.append(call)
            else:
                refusals.append((call, failure_of(call)))
        return calls, refusals

    def check_queue_refusals(self, refusals, reason):
        self.assertTrue(refusals)
        for call, details in refusals:
            self.expect(details, grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
            self.assertGreater(details.retry_seconds, 0)
            pushback = dict(call.trailing_metadata())["grpc-retry-pushback-ms"]
            self.assertAlmostEqual(int(pushback), 1000 * details.retry_seconds, delta=1)
            self.assertEqual(len(call.initial_metadata()), 0, "admission is decided before initial metadata")

    def test_full_queue(self):
        with daemon.Daemon("--max-rows", "1", "--max-queued-requests", "1") as server:
            calls, refusals = self.fill(server, long_request(), 5)
            self.check_queue_refusals(refusals, "QUEUE_FULL")
            self.assertIn("max-queued-requests=1", refusals[0][1].message)
            for call in calls:
                call.cancel()
            server.wait_until_idle()

    def test_queue_full_of_tokens(self):
        with daemon.Daemon("--max-rows", "1", "--max-queued-tokens", "100") as server:
            long_prompt = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[0] + [100] * 79))
            long_prompt.stopping.CopyFrom(long_request().stopping)
            calls, refusals = self.fill(server, long_prompt, 5)
            self.check_queue_refusals(refusals, "QUEUE_TOKENS")
            self.assertIn("max-queued-tokens=100", refusals[0][1].message)
            for call in calls:
                call.cancel()
            server.wait_until_idle()

    def test_tenant_over_its_quota(self):
        tenants = self.folder / "tenants.toml"
        tenants.write_text('[[tenant]]\nname = "alpha"\nmax-queued-requests = 1\n')
        alpha = [("x-latentd-tenant", "alpha")]
        with daemon.Daemon("--max-rows", "1", "--tenants", tenants) as server:
            generate = server.generation.Generate
            calls = [generate(long_request())]
            wait_until(lambda: next(calls[0]).HasField("delta"), "it has the row")
            calls.append(generate(long_request(), metadata=alpha))
            self.assertIn("latentd-request-id", dict(calls[1].initial_metadata()))
            refused = generate(long_request(), metadata=alpha)
            details = failure_of(refused)
            self.check_queue_refusals([(refused, details)], "TENANT_QUOTA")
            self.assertEqual(details.quotas, ["tenant:alpha"])
            calls.append(generate(long_request()))
            self.assertIn("latentd-request-id", dict(calls[2].initial_metadata()), "others have their places")
            for call in calls:
                call.cancel()
            server.wait_until_idle()

    def test_first_token_that_cannot_come_in_time(self):
        message = request()
        message.scheduling.ttft_slo.nanos = 1
        details = self.failure(message)
        self.expect(details, grpc.StatusCode.RESOURCE_EXHAUSTED, "SLO_UNATTAINABLE")
        self.assertGreater(details.retry_seconds, 0)

    def test_retry_after_the_time_that_was_told_finds_a_place(self):
        with daemon.Daemon("--max-rows", "1", "--max-queued-requests", "2") as server:
            short = request(max_tokens=64, stopping=pb.Stopping(max_tokens=64, ignore_eos=True))
            for _ in range(20):
                server.once(short)  # so that there is a record
            policy = '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "100s",' \
                     '"maxBackoff": "100s", "backoffMultiplier": 1, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}'
            with grpc.insecure_channel(server.address, [("grpc.service_config", policy)]) as channel:
                retrying = daemon.generation_pb2_grpc.GenerationStub(channel)
                calls = [retrying.Generate(short, timeout=daemon.PATIENCE_SECONDS) for _ in range(6)]
                answers = [daemon.Answer(call) for call in calls]
            self.assertEqual(len({answer.text for answer in answers}), 1)
            self.assertGreater(server.sum("requests_finished_total", reason="QUEUE_FULL"), 0, "some had to retry")

    def test_draining(self):
        with daemon.Daemon("--drain-seconds", "3600") as server:
            server.health()  # connects
            live = server.generation.Generate(long_request())
            next(live)
            server.process.terminate()
            wait_until(lambda: server.health() == 2, "the drain has begun")
            details = self.failure(request(), server)
            self.expect(details, grpc.StatusCode.UNAVAILABLE, "DRAINING")
            self.assertGreater(details.retry_seconds, 0)
            self.assertEqual([event for event in live][-1].WhichOneof("event"), "completed")
            self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)

    def test_loading(self):
        with LoadingDaemon() as server:
            details = self.failure(request(), server)
        self.expect(details, grpc.StatusCode.UNAVAILABLE, "LOADING")
        self.assertGreater(details.retry_seconds, 0)
        self.assertEqual(set(details.metadata), {"loaded_bytes", "total_bytes"})

    # ------------------------------------------------------------------------------------------- the way in and out

    def test_transfers(self):
        with daemon.Daemon(*transfers.FLAGS) as server:
            for reason, provoke in transfers.CAUSES.items():
                with self.subTest(reason):
                    is_request = reason == "ANSWER_TOO_LARGE"
                    code = "INVALID_ARGUMENT" if is_request else "RESOURCE_EXHAUSTED"
                    details = provoke(server)
                    server.wait_until_idle()
                    if isinstance(details, transfers.RawStatus):
                        self.assertEqual(details.code, grpc.StatusCode.RESOURCE_EXHAUSTED)
                        self.assertIn(reason, details.reasons)
                        REACHED.add(reason)
                        continue
                    self.expect(details, grpc.StatusCode[code], reason)
                    if reason in ("SLOW_SENDER", "ANSWERS_FULL"):
                        self.assertGreater(details.retry_seconds, 0)

    # ------------------------------------------------------------------------------------------------- time runs out

    def expired(self, server, message, reason):
        """Lets `message` expire after more and more time, until it does so in the phase that `reason` names."""
        for seconds in growing_seconds():
            message.scheduling.timeout.CopyFrom(duration_pb2.Duration(nanos=int(seconds * 1e9) % 10 ** 9,
                                                                      seconds=int(seconds)))
            try:
                server.once(message)
            except grpc.RpcError as error:
                details = Details(error)
                if details.reason == reason:
                    return details
                self.assertIn(details.reason, ("EXPIRED_IN_QUEUE", "EXPIRED_IN_PREFILL", "SLO_UNATTAINABLE"))
        raise AssertionError(f"never ended with {reason}")

    def test_expired_in_queue(self):
        with daemon.Daemon("--max-rows", "1") as server:
            running = server.generation.Generate(long_request())
            wait_until(lambda: next(running).HasField("delta"), "the first request runs")
            message = request()
            message.scheduling.queue_timeout.nanos = 20_000_000
            details = self.failure(message, server)
            self.expect(details, grpc.StatusCode.DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE")
            self.assertEqual(details.metadata, {"tokens_delivered": "0"})
            running.cancel()
            server.wait_until_idle()

    def test_expired_in_prefill(self):
        """Where all tokens of a step but one are those of requests that decode, a prompt takes as many steps as tokens.
        That is many times as long as it takes alone, by which it is admitted, and as it waits for its first step."""
        with daemon.Daemon("--max-step-tokens", "16") as server:
            running = [server.generation.Generate(long_request()) for _ in range(15)]
            for call in running:
                wait_until(lambda call=call: next(call).HasField("delta"), "it decodes")
            message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[0] + [100] * 63),
                                         stopping=pb.Stopping(max_tokens=1))
            details = self.expired(server, message, "EXPIRED_IN_PREFILL")
            self.expect(details, grpc.StatusCode.DEADLINE_EXCEEDED, "EXPIRED_IN_PREFILL")
            self.assertEqual(details.metadata, {"tokens_delivered": "0"})
            for call in running:
                call.cancel()
            server.wait_until_idle()

    def test_expired_in_decode(self):
        details = self.expired(self.daemon, long_request(), "EXPIRED_IN_DECODE")
        self.expect(details, grpc.StatusCode.DEADLINE_EXCEEDED, "EXPIRED_IN_DECODE")
        self.assertGreater(int(details.metadata["tokens_delivered"]), 0)

    def test_slow_consumer(self):
        """A client that reads on within the grace after the end finds the status behind what it had left unread."""
        with daemon.Daemon("--slow-consumer-seconds", "1", "--max-pending-bytes", "4096") as server:
            message = long_request()
            message.output.logprobs = 32
            with stubborn_channel(server) as channel:
                call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(message)
                next(call)
                wait_until(lambda: server.sum("requests_finished_total", reason="SLOW_CONSUMER") == 1, "it is given up")
                details = failure_of(call)
            self.expect(details, grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")
            self.assertGreater(int(details.metadata["buffered_bytes"]), 0)
            self.assertIsNone(details.retry_seconds)

    def test_client_cancel(self):
        """The client knows its own cancellation; the server's word on it stands in the metrics."""
        before = self.daemon.sum("requests_finished_total", reason="CLIENT_CANCEL")
        call = self.daemon.generation.Generate(long_request())
        next(call)
        call.cancel()
        wait_until(lambda: self.daemon.sum("requests_finished_total", reason="CLIENT_CANCEL") == before + 1,
                   "the cancellation is counted")
        REACHED.add("CLIENT_CANCEL")


    def test_admin_abort(self):
        with daemon.Daemon("--admin-listen", "127.0.0.1:0") as server:
            call = server.generation.Generate(long_request())
            next(call)
            server.admin.Abort(daemon.admin_pb2.AbortRequest(all=True))
            details = failure_of(call)
            self.expect(details, grpc.StatusCode.ABORTED, "ADMIN_ABORT")


REACHED = set()


class CompletenessTest(unittest.TestCase):
    """Runs after the other one: unittest goes by name, and its tests have filled REACHED by then."""

    def test_zz_every_cause_with_a_series_was_reached(self):
        with daemon.Daemon() as server:
            series = [name for name in server.metrics() if name.startswith("latentd_requests_finished_total")]
        failures = {re.search('reason="([A-Z_]+)"', name)[1] for name in series if 'grpc_code="OK"' not in name}
        self.assertGreater(len(failures), 15)
        self.assertEqual(failures - REACHED - set(OUT_OF_REACH), set())
        self.assertEqual(REACHED - failures, set(), "a cause without a series")


if __name__ == "__main__":
    unittest.main(verbosity=2)
