"""The Python client (clients/python) drives the daemon, with Debian's gRPC; client_install_test runs this again with
what pip installs. 2 s."""
import asyncio
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import socket
import sys
import tempfile
import threading
import unittest

if "LATENTD_CLIENT" in os.environ:
    sys.path.insert(0, os.environ["LATENTD_CLIENT"])
import latentd  # noqa: E402  before the stubs of daemon.py: both are latentd.v1, and the client's own are under test

from google.protobuf import duration_pb2  # noqa: E402

import daemon  # noqa: E402
from daemon import HOLD_TWO, PATIENCE_SECONDS, Daemon, wait_until  # noqa: E402
from doctored_model import copy_with_script  # noqa: E402

sys.path.insert(0, str(daemon.ROOT / "tests/clients"))
import fake_server  # noqa: E402

# As R1 writes a call of a tool, and a template that takes tools and results.
SCRIPT = ["One moment.", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>", "get_", "weather",
          "\n```", "json\n", '{"city": ', '"Zürich"}', "\n``", b"`", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"]
TEMPLATE = ("{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}"
            "{% for m in messages %}{{ m.reasoning_content }}{{ m.content or '' }}{{ m.tool_call_id }}"
            "{% for c in m.tool_calls %}{{ '[' + c.function.name + ' ' + c.function.arguments + ']' }}{% endfor %}"
            "{% endfor %}{{ WRITTEN }}")
ENDLESS = dict(max_tokens=1900, ignore_eos=True, seed=7)


class LibraryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon())
        cls.client = cls.enterClassContext(latentd.Client(cls.daemon.address, timeout=PATIENCE_SECONDS))

    def tearDown(self):
        self.daemon.wait_until_idle()

    def test_stream_brings_deltas_and_ends_with_the_whole(self):
        stream = self.client.generate("Once upon a time", max_tokens=24, seed=7, output=latentd.Output(token_ids=True))
        text = "".join(delta.text for delta in stream)
        result = stream.result()
        self.assertEqual((result.text, result.end_reason), (text, latentd.EndReason.MAX_TOKENS))
        self.assertEqual((len(result.answers[0].token_ids), result.usage.generated_tokens), (24, 24))
        self.assertGreater(result.timings.time_to_first_token_seconds, 0)
        self.assertEqual(result.text, self.daemon.once(daemon.request()).text, "as gRPC alone gives it")
        ids = self.client.tokenize("Once upon a time").token_ids
        self.assertEqual(self.client.generate(ids, max_tokens=24, seed=7).result().text, text)

    def test_ends_have_their_reasons(self):
        stopped = self.client.generate("Once upon a time", seed=7, max_tokens=200, stop=" the").result()
        self.assertEqual(stopped.end_reason, latentd.EndReason.STOP_STRING)
        self.assertEqual(stopped.answers[0].stop_string, " the")
        text = self.client.tokenize(stopped.text + " the", add_special_tokens=False)
        ended = self.client.generate("Once upon a time", seed=7, max_tokens=200, stop_token_ids=text.token_ids[-1:])
        self.assertEqual(ended.result().end_reason, latentd.EndReason.STOP_TOKEN)
        self.assertEqual(ended.so_far.answers[0].stop_token_id, text.token_ids[-1])

    def test_several_answers(self):
        result = self.client.generate("Once", n=3, max_tokens=8, seed=7, output=latentd.Output(logprobs=1)).result()
        self.assertEqual([len(answer.logprobs) for answer in result.answers], [8, 8, 8])
        alone = self.client.generate("Once", max_tokens=8, seed=7).result()
        self.assertEqual(result.text, alone.text)

    def test_conversation_goes_on_from_its_answer(self):
        messages = [latentd.ChatMessage(role="user", content="Tell me a story about a fox.")]
        answer = self.client.chat(messages, max_tokens=8, seed=7).result()
        again = self.client.tokenize_chat([*messages, answer.message(), {"role": "user", "content": "Go on."}])
        self.assertIn(answer.text + "<｜end▁of▁sentence｜><｜User｜>Go on.", again.rendered)

    def test_calls_in_one_message(self):
        scored = self.client.score("Once upon a time", top_logprobs=2)
        self.assertEqual(len(scored.positions), scored.prompt_tokens - 1)
        self.assertEqual(len(scored.positions[0].top), 2)
        text = "naïve Füchse 🦊"
        self.assertEqual(self.client.detokenize(self.client.tokenize(text).token_ids), text)
        model = self.client.model()
        self.assertEqual([model.name], [found.name for found in self.client.models()])
        self.assertEqual(self.client.model(model.name).vocab_size, model.vocab_size)

    def test_mistakes_name_the_fields(self):
        with self.assertRaises(latentd.InvalidRequest) as caught:
            self.client.generate("Once", top_p=7, min_p=-1).result()
        self.assertEqual({field.name for field in caught.exception.fields}, {"sampling.top_p", "sampling.min_p"})
        with self.assertRaises(latentd.InvalidRequest) as caught:
            self.client.model("another")
        self.assertEqual(caught.exception.reason, "MODEL_NOT_FOUND")

    def test_leaving_the_loop_frees_the_blocks(self):
        cancelled = self.daemon.sum("requests_finished_total", reason="CLIENT_CANCEL")
        for _ in self.client.generate("Once upon a time", **ENDLESS):
            break
        self.daemon.wait_until_idle()
        self.assertEqual(self.daemon.sum("requests_finished_total", reason="CLIENT_CANCEL"), cancelled + 1)

    def test_deadline_arrives_with_its_cause(self):
        limit = latentd.Scheduling(timeout=duration_pb2.Duration(nanos=50_000_000))
        with self.assertRaises(latentd.DeadlineExceeded) as caught:
            self.client.generate("Once upon a time", n=8, scheduling=limit, **ENDLESS).result()
        self.assertRegex(caught.exception.reason, "EXPIRED_IN_(QUEUE|PREFILL|DECODE)")
        self.assertIn("tokens_delivered", caught.exception.details)
        with self.assertRaises(latentd.DeadlineExceeded):
            self.client.generate("Once upon a time", timeout=0.05, n=8, **ENDLESS).result()
        with self.assertRaises(latentd.DeadlineExceeded):
            self.client.score(list(range(3, 1500)), timeout=0.001)

    def test_many_async_streams_each_have_their_own_answer(self):
        async def run():
            async with latentd.AsyncClient(self.daemon.address, timeout=PATIENCE_SECONDS) as client:
                prompts = [f"Once upon a time there were {number} foxes" for number in range(100)]
                return await asyncio.gather(*(client.generate(prompt, max_tokens=4, seed=number).result()
                                              for number, prompt in enumerate(prompts)))
        results = asyncio.run(run())
        for number in (0, 57, 99):
            alone = self.client.generate(f"Once upon a time there were {number} foxes", max_tokens=4, seed=number)
            self.assertEqual(alone.result().text, results[number].text)
        self.assertEqual({result.usage.generated_tokens for result in results}, {4})

    def test_async_client_has_every_call(self):
        async def run():
            async with latentd.AsyncClient(self.daemon.address, timeout=PATIENCE_SECONDS) as client:
                await client.wait_until_serving(PATIENCE_SECONDS)
                self.assertTrue(await client.is_serving())
                model = await client.model()
                self.assertEqual([found.name for found in await client.models()], [model.name])
                ids = (await client.tokenize("Once upon")).token_ids
                self.assertEqual(await client.detokenize(ids), "Once upon")
                self.assertEqual((await client.score(ids)).prompt_tokens, len(ids))
                chat = await client.tokenize_chat("Hi")
                answer = await client.chat("Hi", max_tokens=4, seed=7).result()
                self.assertEqual(answer.usage.prompt_tokens, len(chat.token_ids))
                async for _ in client.generate("Once upon a time", **ENDLESS):
                    break
                await asyncio.to_thread(self.daemon.wait_until_idle)
                with self.assertRaises(latentd.InvalidRequest):
                    await client.generate("Once", top_p=7).result()
        asyncio.run(run())


class ToolsTest(unittest.TestCase):
    def test_call_of_a_tool_and_its_result(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "scripted"
        copy_with_script(folder, ["<｜Assistant｜>"], SCRIPT, template=TEMPLATE)
        server = self.enterContext(Daemon(model=folder))
        client = self.enterContext(latentd.Client(server.address, timeout=PATIENCE_SECONDS))
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        tools = [latentd.tool("get_weather", "of a city", schema)]
        messages = [latentd.ChatMessage(role="user", content="Weather?")]
        answer = client.chat(messages, tools=tools, tool_choice="auto", temperature=0).result()
        self.assertEqual((answer.text, answer.end_reason), ("One moment.", latentd.EndReason.EOS))
        self.assertIn(answer.answers[0].stop_token_id, client.model().eos_token_ids)
        call, = answer.tool_calls
        self.assertEqual((call.id, call.name, json.loads(call.arguments_json)),
                         ("call_0", "get_weather", {"city": "Zürich"}))
        history = [*messages, answer.message(), latentd.tool_result(call, "21 degrees")]
        rendered = client.tokenize_chat(history, tools=tools).rendered
        self.assertIn('Weather?One moment.[get_weather {"city": "Zürich"}]21 degreescall_0', rendered)
        self.assertIn('"required": ["city"]', rendered)
        self.assertEqual(client.chat(messages, tools=tools, tool_choice="none", temperature=0).result().tool_calls, [])
        with self.assertRaises(latentd.InvalidRequest) as caught:
            client.chat(messages, tools=tools, tool_choice="required").result()
        self.assertEqual(caught.exception.reason, "UNSUPPORTED_FEATURE")


class PageTest(unittest.TestCase):
    """The examples of clients/python/README.md."""

    @classmethod
    def setUpClass(cls):
        cls.page = (daemon.ROOT / "clients/python/README.md").read_text()
        cls.blocks = re.findall(r"^```python\n(.*?)^```", cls.page, re.M | re.S)

    def test_streams(self):
        with Daemon() as server:
            for block in self.blocks[:2]:
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    exec(block.replace("127.0.0.1:50051", server.address), {})
                self.assertGreater(len(said.getvalue()), 40)

    def test_tools(self):
        names, asked = {}, []
        exec(self.blocks[2], names)

        class Chat:
            """A model that calls one tool, then talks."""

            def chat(self, messages, **_):
                stream = latentd.Result()
                call = latentd.ToolCall(id="call_0", name="get_weather", arguments_json='{"city": "Bern"}')
                stream.answers[0].tool_calls = [] if asked else [call]
                stream.answers[0].text = "It rains." if asked else ""
                return type("Stream", (), {"result": lambda _: stream})()

        messages = [latentd.ChatMessage(role="user", content="Weather?")]
        said = names["answer"](Chat(), messages, lambda city: asked.append(city) or "rain")
        self.assertEqual((said, asked), ("It rains.", ["Bern"]))
        self.assertEqual([message.role for message in messages], ["user", "assistant", "tool", "assistant"])

    def test_errors_are_those_of_the_table(self):
        listed = set(re.findall(r"^\| `(\w+)` \| [A-Z]", self.page, re.M))
        self.assertEqual(listed, {kind.__name__ for kind in latentd.Error.__subclasses__()})


class BusyTest(unittest.TestCase):
    def test_refused_request_gets_its_place(self):
        """Two run, one waits; what comes then is refused until the test lets the others go."""
        with Daemon(*HOLD_TWO, "--max-queued-requests", "1") as server, \
                latentd.Client(server.address, retry=latentd.Retry(max_attempts=1000)) as client:
            held = []
            for phase, number in (("decode", 1), ("decode", 2), ("queued", 1)):
                held.append(client.generate("Once", output=latentd.Output(logprobs=32), **ENDLESS))
                wait_until(lambda: server.sum("requests_in_flight", phase=phase) == number, f"{number} in {phase}")
            with latentd.Client(server.address, retry=latentd.Retry(max_attempts=1)) as impatient:
                with self.assertRaises(latentd.Overloaded) as caught:
                    impatient.generate("Once", max_tokens=4).result()
            self.assertEqual(caught.exception.reason, "QUEUE_FULL")
            self.assertGreater(caught.exception.retry_after, 0)
            refused = client.generate("Once", max_tokens=4, seed=7)
            reader = threading.Thread(target=refused.result)
            reader.start()
            wait_until(lambda: server.sum("requests_finished_total", reason="QUEUE_FULL") >= 2, "it was refused")
            for stream in held:
                stream.cancel()
            reader.join()
            self.assertTrue(refused.so_far.is_complete)
            server.wait_until_idle()


class CredentialsTest(unittest.TestCase):
    def test_token_and_certificate_open_the_door(self):
        """Mutual TLS and a token that changes: the client asks for it anew with each call."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        fake_server.make_certificates(folder)
        lines = [f"{name} {hashlib.sha256(name.encode() * 8).hexdigest()} search {rights}\n"
                 for name, rights in (("reader", "metrics"), ("writer", "generate"))]
        (folder / "tokens").write_text("".join(lines))
        server = self.enterContext(Daemon("--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key",
                                          "--tls-client-ca", folder / "ca.pem", "--tokens", folder / "tokens"))
        target = "localhost:" + server.address.rsplit(":", 1)[1]
        tls = latentd.TLS(folder / "ca.pem", folder / "client.pem", folder / "client.key")
        tokens = iter(["nobody" * 8, "reader" * 8, "writer" * 8])
        with latentd.Client(target, tls=tls, token=lambda: next(tokens), timeout=PATIENCE_SECONDS) as client:
            for code, reason in (("UNAUTHENTICATED", "UNAUTHENTICATED"), ("PERMISSION_DENIED", "PERMISSION_DENIED")):
                with self.assertRaises(latentd.Unauthorized) as caught:
                    client.generate("Once", max_tokens=4).result()
                self.assertEqual((caught.exception.code.name, caught.exception.reason), (code, reason))
            self.assertEqual(client.generate("Once", max_tokens=4).result().usage.generated_tokens, 4)
        with latentd.Client(target, tls=latentd.TLS(folder / "ca.pem"), retry=latentd.Retry(max_attempts=1)) as client:
            with self.assertRaises(latentd.Unavailable):
                client.model(timeout=PATIENCE_SECONDS)


class StartTest(unittest.TestCase):
    def test_waits_for_a_server_that_is_not_there_yet(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        with latentd.Client(address) as client:
            with self.assertRaises(latentd.DeadlineExceeded):
                client.wait_until_serving(0.05)
            waiter = threading.Thread(target=client.wait_until_serving, args=(PATIENCE_SECONDS,))
            waiter.start()
            with Daemon("--listen", address) as server:
                waiter.join()
                self.assertTrue(client.is_serving())
                self.assertEqual(re.sub(r".*:", "", server.address), re.sub(r".*:", "", address))


if __name__ == "__main__":
    unittest.main(verbosity=2)
