"""The limits of a request, and the cost of a refusal: bytes of memory, bytes of the status."""
import unittest

import grpc

import daemon
from daemon import Details, admin_pb2, pb, request

MIB = 1 << 20
MAX_STATUS_BYTES = 4096  # message, details and trailers
ADMIN = ("--admin-listen", "127.0.0.1:0")


def sized(number, content):
    """A length-delimited field as it stands on the wire."""
    size, prefix = len(content), bytes([number << 3 | 2])
    while size >= 0x80:
        prefix, size = prefix + bytes([size & 0x7F | 0x80]), size >> 7
    return prefix + bytes([size]) + content


def status_bytes(error):
    return len(error.details().encode()) + sum(len(key) + len(value) for key, value in error.trailing_metadata())


class RefusalsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon(*ADMIN))
        cls.once = cls.daemon.channel.unary_unary("/latentd.v1.Generation/GenerateOnce")
        cls.tokenize = cls.daemon.channel.unary_unary("/latentd.v1.Generation/Tokenize")

    def refusal(self, method, message):
        """The Details of this call, whose status is small."""
        with self.assertRaises(grpc.RpcError) as failure:
            method(message, timeout=daemon.PATIENCE_SECONDS)
        self.assertLessEqual(status_bytes(failure.exception), MAX_STATUS_BYTES)
        return Details(failure.exception)

    def expect_invalid(self, method, message, field):
        details = self.refusal(method, message)
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
                         details.message[:200])
        self.assertTrue(details.fields[0].startswith(field), details.fields)
        return details

    # ---------------------------------------------------------------------------------------------- lists (D1, D2, D4)

    def test_long_lists_are_refused_for_their_length(self):
        message = request()
        message.sampling.allowed_token_ids.extend(i % 4096 for i in range(60_000))
        message.stopping.stop_token_ids.extend(i % 4096 for i in range(60_000))
        message.stopping.min_tokens = 1
        details = self.expect_invalid(self.daemon.generation.GenerateOnce, message, "sampling.allowed_token_ids")
        self.assertIn("expected at most 4096 entries, found 60000", details.message)

    def test_a_message_full_of_mistakes_costs_no_more_than_its_bytes(self):
        empty, wrong_id = 2 * MIB - 64, 4 * MIB // 5 - 64
        text = sized(1, b"Once")
        user = sized(1, sized(1, b"user"))
        cases = {
            "stopping.stop": (self.once, text + sized(6, sized(3, b"") * empty)),
            "sampling.bad_words": (self.once, text + sized(5, sized(10, b"") * empty)),
            "sampling.allowed_token_ids": (self.once, text + sized(5, sized(9, b"\xff\xff\xff\xff\x0f" * wrong_id))),
            "sampling.logit_bias": (self.once, text + sized(5, sized(8, b"") * empty)),
            "constraint.choice.texts": (self.once, text + sized(7, sized(5, sized(1, b"") * empty))),
            "chat.messages": (self.tokenize, sized(2, sized(1, b"") * empty)),
            "chat.tools": (self.tokenize, sized(2, user + sized(2, b"") * empty)),
            "chat.messages[0].tool_calls": (self.tokenize, sized(2, sized(1, sized(4, b"") * empty))),
        }
        for method, _ in cases.values():
            self.refusal(method, b"\xff" * (4 * MIB - 64))  # what gRPC itself keeps of messages of this size
        before = self.daemon.resident_bytes()
        for field, (method, message) in cases.items():
            with self.subTest(field=field):
                self.assertLess(len(message), 4 * MIB)
                self.expect_invalid(method, message, field)
        # To the byte it is counted in request_bounds_test; one such message took 90 MiB and more.
        self.assertLess(self.daemon.resident_bytes() - before, 48 * MIB)

    def test_prompt_of_too_many_ids_is_the_contexts_fault(self):
        details = self.refusal(self.once, sized(2, sized(1, b"\x05" * (4 * MIB - 64))))
        self.assertEqual(details.reason, "CONTEXT_LENGTH_EXCEEDED")
        self.assertEqual(details.metadata, {"prompt_tokens": str(4 * MIB - 64), "limit": "2048"})

    def test_ids_of_detokenize_and_abort_are_bounded(self):
        detokenize = self.daemon.channel.unary_unary("/latentd.v1.Generation/Detokenize")
        self.expect_invalid(detokenize, sized(1, b"\x05" * (3 * MIB)), "token_ids")
        abort = self.daemon.admin_channel.unary_unary("/latentd.v1.Admin/Abort")
        self.expect_invalid(abort, sized(1, b"") * (2 * MIB - 64), "request_ids")

    def test_allowed_ids_that_stand_for_nothing_are_no_fault_of_the_model(self):
        message = request(sampling=pb.Sampling(allowed_token_ids=[1]), stopping=pb.Stopping(max_tokens=4, min_tokens=1))
        self.expect_invalid(self.daemon.generation.GenerateOnce, message, "stopping.min_tokens")

    # ------------------------------------------------------------------------------------------------- quotes (D10)

    def test_statuses_are_small_whatever_they_quote(self):
        generation, admin = self.daemon.generation, self.daemon.admin
        user = pb.ChatMessage(role="user", content="Hello")
        for size in (3000, MIB):
            for character in ("x", "🦊", "\n", "%"):
                name = character * (size // len(character.encode()))
                with self.subTest(size=size, character=character):
                    def chat(**fields):
                        return pb.ChatRequest(**{"messages": [user], **fields})
                    for method, message, field in (
                            (generation.Chat, chat(messages=[pb.ChatMessage(role=name)]), "messages[0].role"),
                            (generation.Chat, chat(messages=[pb.ChatMessage(role="user", name=name)]),
                             "messages[0].name"),
                            (generation.Chat, chat(tools=[pb.Tool(name=name)]), "tools[0].name"),
                            (generation.Chat, chat(template_options=pb.TemplateOptions(variables_json={name: "1"})),
                             "template_options.variables_json["),
                            (generation.Generate, request(request_id=name), "request_id"),
                            (admin.SetLogLevel, admin_pb2.SetLogLevelRequest(level=name), "level")):
                        call = (lambda m, timeout: list(method(m, timeout=timeout))) \
                            if method is not admin.SetLogLevel else method
                        self.expect_invalid(call, message, field)
                    details = self.refusal(generation.GenerateOnce, request(model=name))
                    self.assertEqual(details.code, grpc.StatusCode.NOT_FOUND)
                    self.assertTrue(name.startswith(details.resource[1].removesuffix("...")), "an excerpt of it")

    # --------------------------------------------------------------------------------------- numbers (A14, C5)

    def test_bound_and_value_never_look_alike(self):
        details = self.expect_invalid(self.daemon.generation.GenerateOnce,
                                      request(sampling=pb.Sampling(top_p=1.0000001)), "sampling.top_p")
        self.assertIn("at most 1, found 1.0000001", details.message)

    def test_no_request_looks_like_a_broken_model(self):
        tokens = self.daemon.once(request(output=pb.Output(token_ids=True))).token_ids
        extremes = [dict(repetition_penalty=1e-38), dict(repetition_penalty=1e-45), dict(repetition_penalty=100),
                    dict(temperature=1e-38), dict(temperature=100), dict(temperature=1e-45, repetition_penalty=1e-45),
                    dict(presence_penalty=-2, frequency_penalty=-2, repetition_penalty=1e-45, temperature=0),
                    dict(logit_bias={token: 100 for token in tokens}, repetition_penalty=1e-40, min_p=1),
                    dict(top_p=1e-45), dict(min_p=1e-45)]
        for sampling in extremes:
            with self.subTest(sampling=sampling):
                answer = self.daemon.once(request(sampling=pb.Sampling(**sampling), output=pb.Output(logprobs=3)))
                self.assertGreater(answer.end.output_tokens, 0)
        self.assertEqual(self.daemon.sum("nonfinite_rows_total"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
