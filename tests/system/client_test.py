"""The view of one client at a time: streams, cancellation, deadlines, statuses with details, bad requests."""
import json
import unittest

import grpc
from google.protobuf import duration_pb2

import daemon
from daemon import Answer, Details, MODEL, pb, long_request, request, wait_until


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon())
        cls.vocab_size = json.loads((MODEL / "config.json").read_text())["vocab_size"]

    def tearDown(self):
        self.daemon.wait_until_idle()

    def refusal(self, call, *args):
        with self.assertRaises(grpc.RpcError) as caught:
            list(call(*args, timeout=daemon.PATIENCE_SECONDS))
        details = Details(caught.exception)
        self.assertEqual(details.status_code, details.code.value[0], "the details repeat the code")
        self.assertEqual(details.domain, "latentd")
        return details

    def refused(self, message):
        return self.refusal(self.daemon.generation.Generate, message)

    # ------------------------------------------------------------------------------------------------------- answers

    def test_stream_follows_the_grammar_and_reports_every_default(self):
        call = self.daemon.generation.Generate(request(), timeout=daemon.PATIENCE_SECONDS)
        metadata = dict(call.initial_metadata())
        answer = Answer(call)
        self.assertEqual(metadata["latentd-request-id"], answer.started.request_id)
        defaults = json.loads((MODEL / "generation_config.json").read_text())
        self.assertAlmostEqual(answer.started.sampling.temperature, defaults["temperature"], places=6)
        self.assertAlmostEqual(answer.started.sampling.top_p, defaults["top_p"], places=6)
        self.assertEqual(answer.started.sampling.seed, 7)
        self.assertTrue(answer.started.fingerprint)
        self.assertGreater(len(answer.text), 10)
        self.assertEqual(answer.completed.usage.prompt_tokens, answer.started.prompt_tokens)
        self.assertEqual(answer.completed.usage.generated_tokens, answer.end.output_tokens)
        self.assertEqual(answer.deltas[-1].tokens_so_far, answer.end.output_tokens)
        self.assertEqual(call.code(), grpc.StatusCode.OK)

    def test_generate_once_is_the_stream_in_one_message(self):
        streamed = self.daemon.once(request(output=pb.Output(token_ids=True, token_bytes=True)))
        once = self.daemon.generation.GenerateOnce(request(output=pb.Output(token_ids=True, token_bytes=True)))
        self.assertEqual(once.sequences[0].output.text, streamed.text)
        self.assertEqual(list(once.sequences[0].output.token_ids), streamed.token_ids)
        self.assertEqual(once.sequences[0].end, streamed.end)
        self.assertEqual(once.completed.usage, streamed.completed.usage)

    def test_seed_drawn_by_the_server_reproduces_the_answer(self):
        message = pb.GenerateRequest(text="Once upon a time", stopping=pb.Stopping(max_tokens=32))
        first = self.daemon.once(message)
        second = self.daemon.once(message)
        self.assertNotEqual(first.started.sampling.seed, second.started.sampling.seed)
        message.sampling.seed = first.started.sampling.seed
        self.assertEqual(self.daemon.once(message).text, first.text)

    def test_chat_renders_the_template_as_tokenize_shows_it(self):
        messages = [pb.ChatMessage(role="user", content="Tell me a story about a fox.")]
        chat = pb.ChatInput(messages=messages)
        tokenized = self.daemon.generation.Tokenize(pb.TokenizeRequest(chat=chat))
        self.assertEqual(tokenized.rendered,
                         "<｜begin▁of▁sentence｜><｜User｜>Tell me a story about a fox.<｜Assistant｜>")
        groups = dict(sampling=pb.Sampling(seed=7), stopping=pb.Stopping(max_tokens=24))
        answer = Answer(self.daemon.generation.Chat(pb.ChatRequest(messages=messages, **groups)))
        self.assertEqual(answer.started.prompt_tokens, len(tokenized.token_ids))
        ids = pb.TokenIds(ids=tokenized.token_ids)
        self.assertEqual(answer.text, self.daemon.once(pb.GenerateRequest(token_ids=ids, **groups)).text)

    def test_tokenize_and_detokenize_are_inverse(self):
        text = "Once upon a time, naïve Füchse 🦊\n said: “no”"
        plain = self.daemon.generation.Tokenize(pb.TokenizeRequest(text=text, add_special_tokens=False))
        self.assertEqual(b"".join(plain.token_bytes).decode(), text)
        with_bos = self.daemon.generation.Tokenize(pb.TokenizeRequest(text=text))
        self.assertEqual(list(with_bos.token_ids), [0, *plain.token_ids])
        detokenized = self.daemon.generation.Detokenize(pb.DetokenizeRequest(token_ids=with_bos.token_ids))
        self.assertEqual(detokenized.text, text)

    def test_stop_string_ends_the_answer_before_it(self):
        whole = self.daemon.once(request(max_tokens=48)).text
        stop = whole[len(whole) // 2:][:4]
        cut = self.daemon.once(request(max_tokens=48, stopping=pb.Stopping(stop=[stop])))
        self.assertEqual(cut.text, whole[:whole.index(stop)])
        self.assertEqual(cut.end.reason, pb.END_REASON_STOP_STRING)
        self.assertEqual(cut.end.stop_string, stop)

    def test_end_of_the_context_is_told_apart_from_max_tokens(self):
        limit = self.daemon.models.GetModel(daemon.models_pb2.GetModelRequest()).limits.max_context_tokens
        prompt = pb.TokenIds(ids=[0] + [100] * (limit - 9))
        for max_tokens, reason in ((4, pb.END_REASON_MAX_TOKENS), (64, pb.END_REASON_CONTEXT_LIMIT)):
            stopping = pb.Stopping(max_tokens=max_tokens, ignore_eos=True)
            answer = self.daemon.once(pb.GenerateRequest(token_ids=prompt, stopping=stopping))
            self.assertEqual(answer.end.reason, reason)
            self.assertEqual(answer.end.output_tokens, min(max_tokens, 8))
            self.assertEqual(answer.started.stopping.max_tokens, min(max_tokens, 8))

    def test_models_says_what_is_served(self):
        model = self.daemon.models.GetModel(daemon.models_pb2.GetModelRequest())
        self.assertEqual(model.name, "tiny-tales")
        self.assertEqual(model.vocab_size, self.vocab_size)
        self.assertEqual(model.context_length, 2048)
        self.assertEqual(model.quantization, "fp8_e4m3_block128")
        self.assertEqual([model], list(self.daemon.models.ListModels(daemon.models_pb2.ListModelsRequest()).models))

    def test_health_and_reflection_name_the_services(self):
        for service in ("", "latentd.v1.Generation", "latentd.v1.Models"):
            self.assertEqual(self.daemon.health(service), 1, service)
        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.health("latentd.v1.Unknown")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        reflect = self.daemon.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", lambda m: m, lambda m: m)
        answer = next(reflect(iter([b"\x3a\x00"])))  # list_services
        self.assertIn(b"latentd.v1.Generation", answer)
        self.assertIn(b"latentd.v1.Models", answer)

    # ------------------------------------------------------------------------------------------ cancel and deadlines

    def test_cancelled_answer_stops_costing(self):
        max_tokens = 1900
        before = self.daemon.sum("generated_tokens_total")
        call = self.daemon.generation.Generate(long_request(max_tokens=max_tokens))
        for event in call:
            if event.HasField("delta"):
                self.assertLessEqual(event.delta.tokens_so_far, 2)
                break
        call.cancel()
        self.daemon.wait_until_idle()
        self.assertLess(self.daemon.sum("generated_tokens_total") - before, max_tokens / 10)

    def test_deadline_of_the_rpc_ends_the_request(self):
        name = dict(method="Generate", grpc_code="DEADLINE_EXCEEDED")
        before = self.daemon.sum("requests_finished_total", **name)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.daemon.generation.Generate(long_request(), timeout=0.2))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        wait_until(lambda: self.daemon.sum("requests_finished_total", **name) == before + 1, "the outcome is counted")

    def test_timeout_in_the_request_delivers_its_reason(self):
        message = long_request()
        message.scheduling.timeout.CopyFrom(duration_pb2.Duration(nanos=50_000_000))
        details = self.refused(message)
        self.assertEqual(details.code, grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertRegex(details.reason, "^EXPIRED_IN_(QUEUE|PREFILL|DECODE)$")
        self.assertIn("tokens_delivered", details.metadata)

    # --------------------------------------------------------------------------------------------------- refusals

    def test_bad_requests_name_their_field(self):
        cases = [
            (pb.GenerateRequest(), "prompt"),
            (pb.GenerateRequest(text=""), "text"),
            (pb.GenerateRequest(token_ids=pb.TokenIds()), "token_ids.ids"),
            (pb.GenerateRequest(token_ids=pb.TokenIds(ids=[0, self.vocab_size])), "token_ids.ids[1]"),
            (request(sampling=pb.Sampling(temperature=-1)), "sampling.temperature"),
            (request(sampling=pb.Sampling(temperature=float("nan"))), "sampling.temperature"),
            (request(sampling=pb.Sampling(top_p=0)), "sampling.top_p"),
            (request(sampling=pb.Sampling(logit_bias={self.vocab_size: 1})), f"sampling.logit_bias[{self.vocab_size}]"),
            (request(sampling=pb.Sampling(allowed_token_ids=[1, 1 << 31])), "sampling.allowed_token_ids[1]"),
            (request(stopping=pb.Stopping(stop_token_ids=[self.vocab_size])), "stopping.stop_token_ids[0]"),
            (request(stopping=pb.Stopping(max_tokens=0)), "stopping.max_tokens"),
            (request(stopping=pb.Stopping(stop=[""])), "stopping.stop[0]"),
            (request(output=pb.Output(logprobs=33)), "output.logprobs"),
            (request(request_id="two words"), "request_id"),
        ]
        for message, field in cases:
            details = self.refused(message)
            self.assertEqual(details.code, grpc.StatusCode.INVALID_ARGUMENT, field)
            self.assertEqual(details.reason, "INVALID_FIELD")
            self.assertEqual(details.fields, [field])
            self.assertIn(field, details.message)
        self.assertGreater(len(self.daemon.once(request()).text), 0, "the daemon serves on")

    def test_text_that_is_not_utf8_names_its_field(self):
        generate = self.daemon.channel.unary_stream(
            "/latentd.v1.Generation/Generate", lambda m: m, pb.GenerateEvent.FromString)
        bad = b"\xff\xfe"
        cases = [
            (b"\x0a\x02" + bad, "text"),
            (request().SerializeToString() + b"\x32\x04\x1a\x02" + bad, "stopping.stop[0]"),
            (request().SerializeToString() + b"\x22\x02" + bad, "request_id"),
        ]
        for raw, field in cases:
            details = self.refusal(generate, raw)
            self.assertEqual((details.code, details.fields), (grpc.StatusCode.INVALID_ARGUMENT, [field]))
        self.assertEqual(self.refusal(generate, b"\x0a\xff").code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertGreater(len(self.daemon.once(request()).text), 0, "the daemon serves on")

    def test_name_of_a_live_request_is_taken(self):
        live = long_request()
        live.request_id = "mine"
        call = self.daemon.generation.Generate(live)
        next(call)
        details = self.refused(request(request_id="mine"))
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.ALREADY_EXISTS, "DUPLICATE_REQUEST_ID"))
        call.cancel()
        self.daemon.wait_until_idle()
        self.assertEqual(self.daemon.once(request(request_id="mine")).started.request_id, "mine")

    # ------------------------------------------------------------------------------------------------------ metrics

    def test_every_rpc_is_counted_once(self):
        self.daemon.once(request())
        self.refused(request(model="gpt"))
        self.daemon.generation.Tokenize(pb.TokenizeRequest(text="a"))
        self.daemon.wait_until_idle()
        samples = self.daemon.metrics()
        for method in ("Generate", "Chat", "Tokenize", "Score", "GetModel"):
            received = samples[f'latentd_requests_received_total{{method="{method}"}}']
            finished = sum(value for name, value in samples.items()
                           if name.startswith("latentd_requests_finished_total") and f'method="{method}"' in name)
            self.assertEqual(received, finished, method)
        blocks = sum(value for name, value in samples.items() if name.startswith("latentd_kv_blocks{"))
        self.assertEqual(blocks, samples["latentd_kv_blocks_capacity"])
        self.assertEqual(self.daemon.sum("request_duration_seconds_count"), self.daemon.sum("requests_finished_total"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
