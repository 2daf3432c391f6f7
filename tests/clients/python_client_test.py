"""The Python client against a server that refuses, fails and answers as each test wants it. 1 s."""
import asyncio
import os
import pathlib
import sys
import tempfile
import threading
import unittest

if "LATENTD_CLIENT" in os.environ:  # else the one that is installed
    sys.path.insert(0, os.environ["LATENTD_CLIENT"])
import grpc  # noqa: E402
import latentd  # noqa: E402
from latentd import Retry, _connection, _requests, _result, _retry  # noqa: E402
from latentd.v1 import generation_pb2 as pb  # noqa: E402

import fake_server  # noqa: E402
from fake_server import (PATIENCE_SECONDS, FakeServer, Refusal, answer, cut_answer, endless_answer,  # noqa: E402
                         failing_answer, queue_full)

INVALID = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", fields=["sampling.top_p", "stopping.stop"])
HOURS = 3600.0


class Retries(unittest.TestCase):
    """Through Client; a class below does the same through AsyncClient."""

    def result(self, server, **options):
        with latentd.Client(server.address, **options) as client:
            return client.generate("Once").result()

    def score(self, server, **options):
        with latentd.Client(server.address, **options) as client:
            return client.score([1, 2, 3])

    def error(self, kind, server, call=None, **options):
        with self.assertRaises(kind) as caught:
            (call or self.result)(server, **options)
        return caught.exception

    def test_waits_as_long_as_the_server_asks(self):
        with FakeServer(queue_full(0.03), queue_full(0.05), answer) as server:
            self.assertEqual(self.result(server).text, "Once upon")
        first, second = server.gaps()
        self.assertGreaterEqual(first, 0.03)
        self.assertGreaterEqual(second, 0.05)

    def test_push_back_of_grpc_counts_before_the_details(self):
        with FakeServer(queue_full(HOURS, pushback="30"), answer) as server:
            self.assertEqual(self.result(server).text, "Once upon")
        self.assertGreaterEqual(server.gaps()[0], 0.03)

    def test_push_back_that_forbids_another_try(self):
        for pushback in ("-1", "soon"):
            with FakeServer(queue_full(0.01, pushback=pushback), answer) as server:
                self.error(latentd.Overloaded, server)
            self.assertEqual(len(server.calls), 1, pushback)

    def test_draining_and_loading_are_tried_again(self):
        for reason in ("DRAINING", "LOADING"):
            refusal = Refusal(grpc.StatusCode.UNAVAILABLE, reason, retry_seconds=0.01)
            with FakeServer(refusal, answer) as server:
                self.assertEqual(self.result(server).text, "Once upon")

    def test_calls_in_one_message_are_tried_again(self):
        with FakeServer(queue_full(), lambda *_: None) as server:
            self.assertEqual(self.score(server).prompt_tokens, 3)
        self.assertEqual(len(server.calls), 2)

    def test_what_would_be_refused_again_is_not(self):
        with FakeServer(INVALID) as server:
            error = self.error(latentd.InvalidRequest, server)
        self.assertEqual(len(server.calls), 1)
        self.assertEqual((error.code, error.reason, error.attempts),
                         (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", 1))
        self.assertEqual([field.name for field in error.fields], ["sampling.top_p", "stopping.stop"])
        self.assertEqual(str(error), "INVALID_ARGUMENT (INVALID_FIELD): expected INVALID_FIELD, found it; change it")

    def test_limit_that_time_does_not_lift(self):
        slow = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER", buffered_bytes="4096")
        with FakeServer(slow) as server:
            error = self.error(latentd.LimitExceeded, server)
        self.assertEqual((error.details, error.retry_after), ({"buffered_bytes": "4096"}, None))

    def test_gives_up_with_the_last_refusal(self):
        with FakeServer(queue_full(0.01)) as server:
            error = self.error(latentd.Overloaded, server, retry=Retry(max_attempts=3))
        self.assertEqual((len(server.calls), error.attempts, error.reason), (3, 3, "QUEUE_FULL"))

    def test_does_not_wait_beyond_the_deadline_nor_for_hours(self):
        for options in (dict(timeout=30.0, retry=Retry(max_wait=2 * HOURS)), dict(retry=Retry(max_wait=60))):
            with FakeServer(queue_full(HOURS)) as server:
                error = self.error(latentd.Overloaded, server, **options)
            self.assertEqual((len(server.calls), error.retry_after), (1, HOURS))

    def test_all_tries_share_one_deadline_which_the_server_keeps(self):
        with FakeServer(queue_full(0.05), answer) as server:
            self.result(server, timeout=30.0)
        first, second = (request.scheduling.timeout.ToMicroseconds() / 1e6 for _, request, _ in server.calls)
        self.assertGreater(server.seconds_left[-1], second, "gRPC's own deadline comes later, without a cause")
        self.assertLessEqual(first, 30.0)
        self.assertLessEqual(second, first - 0.05)

    def test_output_is_never_followed_by_another_try(self):
        with FakeServer(failing_answer) as server:
            self.error(latentd.Overloaded, server)
        self.assertEqual(len(server.calls), 1)

    def test_stream_without_its_end_is_no_success(self):
        with FakeServer(cut_answer) as server:
            self.error(latentd.ServerFault, server)

    def test_no_server_is_tried_again_and_named(self):
        with FakeServer(answer) as server:
            pass
        error = self.error(latentd.Unavailable, server, retry=Retry(max_attempts=3, initial_backoff=0.001))
        self.assertEqual((error.attempts, error.reason, error.status), (3, "", None))
        self.assertIn(server.address, error.message)
        self.assertIn("check the address", error.message)

    def test_server_without_the_service_is_named(self):
        with FakeServer(answer) as server:
            error = self.error(latentd.InvalidRequest, server, call=self.model)
        self.assertIn(f"expected latentd.v1 at {server.address}", error.message)

    def model(self, server):
        with latentd.Client(server.address) as client:
            return client.model()


class AsyncRetries(Retries):
    def result(self, server, **options):
        async def run():
            async with latentd.AsyncClient(server.address, **options) as client:
                return await client.generate("Once").result()
        return asyncio.run(run())

    def score(self, server, **options):
        async def run():
            async with latentd.AsyncClient(server.address, **options) as client:
                return await client.score([1, 2, 3])
        return asyncio.run(run())

    def model(self, server):
        async def run():
            async with latentd.AsyncClient(server.address) as client:
                return await client.model()
        return asyncio.run(run())


class Cancellation(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(FakeServer(endless_answer))
        self.client = self.enterContext(latentd.Client(self.server.address))

    def tearDown(self):
        self.assertTrue(self.server.cancelled.wait(PATIENCE_SECONDS), "the server sees that the client is gone")

    def test_leaving_the_loop(self):
        stream = self.client.generate("Once")
        for delta in stream:
            self.assertEqual(delta.text, "Once")
            break
        self.assertTrue(self.server.cancelled.wait(PATIENCE_SECONDS))
        self.assertEqual((stream.so_far.text, stream.so_far.is_complete), ("Once", False))
        with self.assertRaises(latentd.Cancelled):
            stream.result()

    def test_leaving_the_context(self):
        with self.client.generate("Once") as stream:
            self.assertEqual(next(iter(stream)).text, "Once")

    def test_forgetting_the_stream(self):
        stream = self.client.generate("Once")
        self.assertTrue(self.server.arrived.wait(PATIENCE_SECONDS))
        del stream

    def test_another_thread(self):
        stream = self.client.generate("Once")
        deltas = iter(stream)
        next(deltas)
        threading.Thread(target=stream.cancel).start()
        with self.assertRaises(latentd.Cancelled):
            next(deltas)

    def test_during_the_wait_for_another_try(self):
        self.server.plays.insert(0, queue_full(30))
        stream = self.client.generate("Once")
        canceller = threading.Thread(target=lambda: self.server.arrived.wait(PATIENCE_SECONDS) and stream.cancel())
        canceller.start()
        with self.assertRaises(latentd.Cancelled):
            stream.result()
        canceller.join()
        self.server.cancelled.set()  # there was no call left to cancel


class AsyncCancellation(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.server = self.enterContext(FakeServer(endless_answer))
        self.client = await self.enterAsyncContext(latentd.AsyncClient(self.server.address))

    async def saw(self, event):
        self.assertTrue(await asyncio.to_thread(event.wait, PATIENCE_SECONDS))

    async def test_leaving_the_loop(self):
        stream = self.client.generate("Once")
        async for delta in stream:
            self.assertEqual(delta.text, "Once")
            break
        await self.saw(self.server.cancelled)
        with self.assertRaises(latentd.Cancelled):
            await stream.result()

    async def test_leaving_the_context(self):
        async with self.client.generate("Once") as stream:
            await anext(aiter(stream))
        await self.saw(self.server.cancelled)

    async def test_end_of_a_task_stays_the_end_of_a_task(self):
        task = asyncio.create_task(self.client.generate("Once").result())
        await self.saw(self.server.arrived)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.saw(self.server.cancelled)

    async def test_cancel_of_the_stream_is_an_error_of_its_reader(self):
        stream = self.client.generate("Once")
        task = asyncio.create_task(stream.result())
        await self.saw(self.server.arrived)
        stream.cancel()
        with self.assertRaises(latentd.Cancelled):
            await task
        await self.saw(self.server.cancelled)

    async def test_during_the_wait_for_another_try(self):
        self.server.plays.insert(0, queue_full(30))
        stream = self.client.generate("Once")
        task = asyncio.create_task(stream.result())
        await self.saw(self.server.arrived)
        stream.cancel()
        with self.assertRaises(latentd.Cancelled):
            await task


class Credentials(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        fake_server.make_certificates(cls.folder)

    def server(self):
        read = {name: (self.folder / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem")}
        return FakeServer(answer, credentials=grpc.ssl_server_credentials(
            [(read["server.key"], read["server.pem"])], read["ca.pem"], require_client_auth=True))

    def tls(self, ca="ca.pem", **more):
        return latentd.TLS(ca=self.folder / ca, certificate=self.folder / "client.pem",
                           key=self.folder / "client.key", **more)

    def test_mutual_tls_with_a_token_that_changes(self):
        tokens = iter(["first", "second"])
        with self.server() as server, \
                latentd.Client(server.address, tls=self.tls(), token=lambda: next(tokens), tenant="me") as client:
            for _ in range(2):
                self.assertEqual(client.generate("Once").result().text, "Once upon")
        seen = [metadata for _, _, metadata in server.calls]
        self.assertEqual([metadata["authorization"] for metadata in seen], ["Bearer first", "Bearer second"])
        self.assertEqual(seen[0]["x-latentd-tenant"], "me")

    def test_async_client_has_them_too(self):
        async def run(server):
            async with latentd.AsyncClient(server.address, tls=self.tls(), token="secret") as client:
                return await client.generate("Once").result()
        with self.server() as server:
            self.assertEqual(asyncio.run(run(server)).text, "Once upon")
        self.assertEqual(server.calls[0][2]["authorization"], "Bearer secret")

    def test_other_authority_other_name_and_no_certificate_are_refused(self):
        retry = Retry(max_attempts=1)
        with self.server() as server:
            for tls in (self.tls(ca="other.pem"), self.tls(server_name="elsewhere"),
                        latentd.TLS(ca=self.folder / "ca.pem"), None):
                with latentd.Client(server.address, tls=tls, retry=retry) as client:
                    with self.assertRaises(latentd.Unavailable) as caught:
                        client.generate("Once").result()
                self.assertIn("both or neither use TLS", caught.exception.message)
        self.assertEqual(server.calls, [])

    def test_token_goes_nowhere_in_plain_text(self):
        with self.assertRaisesRegex(ValueError, "expected TLS to model.example:50051"):
            latentd.Client("model.example:50051", token="secret")
        latentd.Client("model.example:50051", token="secret", insecure=True).close()
        latentd.Client("model.example:50051", token="secret", tls=latentd.TLS()).close()
        local = ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/x", "unix-abstract:x", "dns:///localhost:1",
                 "ipv4:127.0.0.2:1", "::1", "localhost")
        away = ("10.0.0.1:1", "[2001:db8::1]:1", "localhost.example:1", "dns:///model:1", "model", "127.example:1")
        self.assertEqual([target for target in (*local, *away) if _connection.is_local(target)], list(local))

    def test_half_a_client_certificate(self):
        with self.assertRaisesRegex(ValueError, "found one of them"):
            latentd.TLS(key="client.key")


class Requests(unittest.TestCase):
    """Closed world: what the schema has, a keyword of the client says."""

    @staticmethod
    def fields(message, *without):
        return set(message.DESCRIPTOR.fields_by_name) - set(without)

    def test_every_field_has_its_keyword(self):
        flat = self.fields(pb.Sampling) | self.fields(pb.Stopping) | {"priority"}
        template = {"thinking", "reasoning_effort"}
        groups = ("sampling", "stopping")
        for parameters, fields in (
                (latentd.GenerateParameters, self.fields(pb.GenerateRequest, "text", "token_ids", *groups) | flat),
                (latentd.ChatParameters, self.fields(pb.ChatRequest, "messages", *groups) | flat | template),
                (latentd.TemplateParameters, self.fields(pb.ChatInput, "messages") | template),
                (latentd.ScoreParameters, self.fields(pb.ScoreRequest, "text", "token_ids"))):
            self.assertEqual(set(parameters.__annotations__), fields, parameters.__name__)

    def test_every_end_has_its_name(self):
        names = {name.removeprefix("END_REASON_") for name in pb.EndReason.keys()} - {"UNSPECIFIED"}
        self.assertEqual({reason.value for reason in latentd.EndReason}, names | {"UNKNOWN"})
        self.assertEqual(latentd.EndReason("FROM_THE_FUTURE"), latentd.EndReason.UNKNOWN)

    def test_keywords_reach_their_groups(self):
        request = _requests.generate_request([1, 2], dict(
            temperature=0, seed=2**64 - 1, logit_bias={5: -1.5}, stop="\n", max_tokens=3, priority=-2, top_p=None,
            scheduling=pb.Scheduling(ttft_slo={"seconds": 2}), output=pb.Output(token_ids=True)))
        self.assertEqual(request, pb.GenerateRequest(
            token_ids=pb.TokenIds(ids=[1, 2]), output=pb.Output(token_ids=True),
            sampling=pb.Sampling(temperature=0, seed=2**64 - 1, logit_bias={5: -1.5}),
            stopping=pb.Stopping(stop=["\n"], max_tokens=3),
            scheduling=pb.Scheduling(priority=-2, ttft_slo={"seconds": 2})))

    def test_chat_takes_a_text_mappings_and_messages(self):
        call = pb.ToolCall(id="call_0", name="look", arguments_json="{}")
        messages = [{"role": "user", "content": "Hi"}, pb.ChatMessage(role="assistant", tool_calls=[call]),
                    latentd.tool_result(call, "21")]
        schema = {"type": "object"}
        request = _requests.chat_request(messages, dict(tools=[latentd.tool("look", "around", schema)],
                                                        tool_choice="none", thinking=True))
        self.assertEqual(request.messages[2], pb.ChatMessage(role="tool", tool_call_id="call_0", content="21"))
        self.assertEqual(request.tools[0].parameters_json, '{"type": "object"}')
        self.assertEqual(request.tool_choice.mode, pb.TOOL_CHOICE_MODE_NONE)
        self.assertTrue(request.template_options.thinking)
        self.assertEqual(_requests.chat_request("Hi", {}).messages[0], pb.ChatMessage(role="user", content="Hi"))

    def test_mistakes_are_named(self):
        for wrong, said in ((dict(temprature=1), "found temprature"), (dict(thinking=True), "found thinking"),
                            (dict(temperature="hot"), "temperature: expected a value for Sampling.temperature"),
                            (dict(max_tokens=-1), "max_tokens: expected a value for Stopping.max_tokens"),
                            (dict(output=pb.Cache()), "output: expected a value for GenerateRequest.output")):
            with self.assertRaisesRegex(TypeError, said):
                _requests.generate_request("Once", wrong)
        with self.assertRaisesRegex(TypeError, "tool_choice: expected a value for ChatRequest.tool_choice"):
            _requests.chat_request("Hi", dict(tool_choice="perhaps"))

    def test_calls_are_put_together(self):
        result = _result.Result()
        result._add(pb.GenerateEvent(started=pb.Started(sampling=pb.Sampling(n=2))))
        for index, call_id, text in ((0, "a", '{"x"'), (0, "", ": 1}"), (1, "b", "{}")):
            fragment = pb.ToolCallDelta(index=index, id=call_id, name=call_id, arguments_json_fragment=text)
            result._add(pb.GenerateEvent(delta=pb.Delta(index=1, tool_calls=[fragment])))
        answer = result.answers[1]
        calls = [(call.id, call.arguments_json) for call in answer.tool_calls]
        self.assertEqual(calls, [("a", '{"x": 1}'), ("b", "{}")])
        self.assertFalse(answer.message().HasField("content"))
        self.assertEqual(result.tool_calls, [])


class Attempts(unittest.TestCase):
    """The rule by itself, with a clock that stands."""

    def test_bound_of_the_backoff_doubles(self):
        retry = Retry(max_attempts=8, initial_backoff=0.5, max_backoff=3.0)
        bounds = [0.5, 1, 2, 3, 3, 3, 3]
        longest = [0.0] * len(bounds)
        for _ in range(200):
            attempts = _retry.Attempts(retry, None, clock=lambda: 0.0)
            error = latentd.Unavailable(grpc.StatusCode.UNAVAILABLE, "gone")
            error.is_retryable = True
            for number in range(len(bounds)):
                longest[number] = max(longest[number], attempts.next_wait(error))
            with self.assertRaises(latentd.Unavailable):
                attempts.next_wait(error)
        for waited, bound in zip(longest, bounds):
            self.assertLessEqual(waited, bound)
            self.assertGreater(waited, bound / 2, "all of 200 draws in the lower half: one of 10^60")

    def test_values_that_make_no_sense(self):
        with self.assertRaisesRegex(ValueError, "max_attempts of at least 1"):
            Retry(max_attempts=0)
        with self.assertRaisesRegex(ValueError, "timeout above 0"):
            _retry.Attempts(Retry(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
