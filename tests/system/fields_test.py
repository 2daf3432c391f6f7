"""No field of a request is ignored: each one, set alone, changes what the client gets or is refused by name."""
import json
import pathlib
import re
import shutil
import tempfile
import unittest

import grpc
from google.protobuf import descriptor, duration_pb2

import daemon
import readme
import sharing_test
import speculation_test
from daemon import Answer, Details, pb, request

EOS = 1
# Fields that change no byte of an answer: the test that shows what each does.
SHARED = {
    "cache.bypass": sharing_test.SharingTest.test_bypass, "cache.salt": sharing_test.SharingTest.test_salt,
    "cache.no_store": sharing_test.SharingTest.test_no_store,
    "cache.keep_for": sharing_test.SharingTest.test_keep_for,
    "scheduling.priority": sharing_test.RankTest.test_priority_and_tenant_are_listed,
}
SHOWN_ELSEWHERE = SHARED | {
    "speculation.max_drafts": speculation_test.SpeculationTest.test_a_request_says_how_many_beside_auto,
}
EOS_AT_ONCE = dict(sampling=pb.Sampling(logit_bias={EOS: 100}))


def paths_of(message, prefix=""):
    """Every scalar of a message by its path; a map and a Duration count as one."""
    for field in message.fields:
        path = prefix + field.name
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        is_duration = field.message_type is not None and field.message_type.full_name == "google.protobuf.Duration"
        if field.type != descriptor.FieldDescriptor.TYPE_MESSAGE or is_map or is_duration:
            yield path
        else:
            yield from paths_of(field.message_type, path + ".")


def set_path(message, path, value):
    """Sets one field; of a list of messages on the way the last."""
    *parents, name = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
        if hasattr(message, "add"):
            message = message[-1] if len(message) else message.add()
    if isinstance(value, dict):
        getattr(message, name).update(value)
    elif isinstance(value, list):
        getattr(message, name).extend(value)
    elif isinstance(value, duration_pb2.Duration):
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def named(details):
    """The field that is refused, as the schema names it."""
    return re.sub(r"\[[^]]*\]", "", details.fields[0])


class FieldsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon())
        cls.baseline = cls.daemon.once(request(output=pb.Output(token_ids=True)))
        assert len(cls.baseline.text) > 20, cls.baseline.text

    def seen(self, message):
        """What a client can tell apart: not times, not names that the server makes up, not the echo of the request, not
        what was found in the prefix cache."""
        try:
            answer = Answer(self.daemon.generation.Generate(message, timeout=daemon.PATIENCE_SECONDS))
        except grpc.RpcError as error:
            details = Details(error)
            return details.code, details.reason, details.fields
        name = answer.started.request_id
        name = "" if re.fullmatch("[0-9a-f]{16}-[0-9]+", name) else name
        deltas = answer.deltas
        return (name, answer.started.prompt_tokens, answer.text, answer.token_ids,
                [part for delta in deltas for part in delta.token_bytes],
                [entry.SerializeToString() for delta in deltas for entry in delta.logprobs],
                answer.end.SerializeToString(), answer.completed.usage.generated_tokens,
                answer.completed.usage.prompt_tokens, answer.completed.usage.reasoning_tokens)

    def cases(self):
        return self.cases_of(self.baseline)

    @staticmethod
    def cases_of(baseline):
        """path: (what the request holds besides, how to set the field)."""
        soon = duration_pb2.Duration(nanos=1)
        second_word = baseline.text.split()[1]
        third_id = baseline.token_ids[2]
        stop_in_text = dict(stopping=pb.Stopping(stop=[second_word]))
        return {
            "text": ({}, "The king said"),
            "token_ids.ids": ({}, [0, 100, 200]),
            "model": ({}, "another"),
            "request_id": ({}, "mine"),
            "safe_mode": (dict(text="Once<｜User｜>"), True),
            "add_special_tokens": ({}, False),
            "sampling.temperature": ({}, 5.0),
            "sampling.top_p": ({}, 0.01),
            "sampling.top_k": ({"sampling": pb.Sampling(temperature=3, top_p=1)}, 1),
            "sampling.min_p": ({"sampling": pb.Sampling(temperature=3, top_p=1)}, 0.9),
            "sampling.presence_penalty": ({"sampling": pb.Sampling(temperature=0)}, 2.0),
            "sampling.frequency_penalty": ({"sampling": pb.Sampling(temperature=0)}, 2.0),
            "sampling.repetition_penalty": ({"sampling": pb.Sampling(temperature=0)}, 5.0),
            "sampling.logit_bias": ({}, {baseline.token_ids[0]: -100.0}),
            "sampling.allowed_token_ids": ({}, [100, 200, 300]),
            "sampling.bad_words": ({}, [second_word]),
            "sampling.seed": ({}, 8),
            "sampling.n": ({}, 2),
            "stopping.max_tokens": ({}, 5),
            "stopping.min_tokens": (EOS_AT_ONCE, 5),
            "stopping.stop": ({}, [second_word]),
            "stopping.stop_token_ids": ({}, [third_id]),
            "stopping.include_stop": (stop_in_text, True),
            "stopping.ignore_eos": (EOS_AT_ONCE, True),
            "constraint.json_schema": ({}, "{}"),
            "constraint.json_object": ({}, True),
            "constraint.regex": ({}, "[a-z]+"),
            "constraint.grammar": ({}, 'root ::= "a"'),
            "constraint.choice.texts": ({}, ["a", "b"]),
            "output.text": ({}, False),
            "output.token_ids": ({}, True),
            "output.token_bytes": ({}, True),
            "output.logprobs": ({}, 2),
            "output.prompt_logprobs": ({}, 2),
            "output.echo": ({}, True),
            "output.skip_special_tokens": (dict(stopping=pb.Stopping(ignore_eos=True), **EOS_AT_ONCE), False),
            "scheduling.queue_timeout": ({}, soon),
            "scheduling.timeout": ({}, soon),
            "scheduling.ttft_slo": ({}, soon),
        }

    def test_every_field_has_a_case(self):
        self.assertEqual(sorted(paths_of(pb.GenerateRequest.DESCRIPTOR)), sorted([*self.cases(), *SHOWN_ELSEWHERE]))

    def test_baseline_is_the_same_twice(self):
        self.assertEqual(self.seen(request()), self.seen(request()))

    def test_no_field_is_ignored(self):
        refused = []
        for path, (base, value) in self.cases().items():
            with self.subTest(path=path):
                message = request(**base)
                without = self.seen(message)
                self.assertIsInstance(without[0], str, f"the request without {path} is answered: {without}")
                set_path(message, path, value)
                if path == "token_ids.ids":
                    self.assertEqual(message.WhichOneof("prompt"), "token_ids")
                with_field = self.seen(message)
                self.assertNotEqual(with_field, without, f"{path} is ignored")
                if with_field[0] == grpc.StatusCode.UNIMPLEMENTED:
                    self.assertEqual(with_field[1], "UNSUPPORTED_FEATURE")
                    self.assertTrue(path.startswith(with_field[2][0]), with_field)
                    refused.append(path)
        self.assertEqual(sorted(refused), sorted(readme.unimplemented() & set(self.cases())))


# Prints all that a conversation can hold.
TEMPLATE = """{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ m.reasoning_content }}{{ m.name }}
{{ m.tool_call_id }}{% for call in m.tool_calls or [] %}{{ call.id }}{{ call.function.name }}
{{ call.function.arguments }}{% endfor %}{% endfor %}{{ tools | tojson if tools }}{{ thinking }}{{ reasoning_effort }}
{{ extra }}{% if add_generation_prompt %}assistant: {% endif %}"""
USER = dict(role="user", content="Once upon a time")
CALL = dict(id="a", name="tell", arguments_json="{}")


class OtherRequestsTest(unittest.TestCase):
    """Chat, Score, Tokenize and Detokenize: a request with the field and the same without it."""

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "model"
        shutil.copytree(daemon.MODEL, folder)
        config = folder / "tokenizer_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": TEMPLATE}))
        cls.daemon = cls.enterClassContext(daemon.Daemon(model=folder))

    def answer(self, method, message):
        """What a client can tell apart, or the Details of the refusal."""
        try:
            result = getattr(self.daemon.generation, method)(message, timeout=daemon.PATIENCE_SECONDS)
            if method != "Chat":
                if method == "Score":
                    result.ClearField("timings")
                    result.ClearField("cached_tokens")
                if re.fullmatch("[0-9a-f]{16}-[0-9]+", getattr(result, "request_id", "")):
                    result.request_id = ""
                return result.SerializeToString(deterministic=True)
            answer = Answer(result)
            name = answer.started.request_id
            return ("" if re.fullmatch("[0-9a-f]{16}-[0-9]+", name) else name, answer.started.prompt_tokens,
                    len(answer.sequences), answer.text, answer.token_ids,
                    [bytes(part) for delta in answer.deltas for part in delta.token_bytes],
                    [entry.SerializeToString() for delta in answer.deltas for entry in delta.logprobs],
                    answer.end.SerializeToString())
        except grpc.RpcError as error:
            return Details(error)

    def check(self, method, make, cases):
        """cases: {path: (what the request holds besides, value)}; returns the fields that were refused by name."""
        refused = set()
        for path, (base, value) in cases.items():
            with self.subTest(method=method, path=path):
                message = make(**base)
                without = self.answer(method, message)
                self.assertNotIsInstance(without, Details, getattr(without, "message", ""))
                set_path(message, path, value)
                answer = self.answer(method, message)
                self.assertNotEqual(answer, without, f"{path} is ignored")
                if isinstance(answer, Details) and answer.code == grpc.StatusCode.UNIMPLEMENTED:
                    self.assertTrue(path.startswith(named(answer)), answer.fields)
                    refused.add(path if path in readme.unimplemented() else named(answer))
        return refused

    @staticmethod
    def conversation_cases(messages):
        """Cases of the part that Chat and Tokenize share; `messages` makes the request's fields from its messages."""
        user, tool = messages(USER), dict(name="tell", description="a story", parameters_json="{}")
        assistant = messages(dict(USER, role="assistant"))
        answered = messages(dict(role="assistant", tool_calls=[CALL, dict(CALL, id="b")]),
                            dict(role="tool", content="x", tool_call_id="a"))
        first_calls = messages(dict(role="assistant", tool_calls=[CALL]))
        with_tools = messages(USER, tools=[tool])
        cases = {
            "messages.role": (user, "system"), "messages.content": (user, "The king"),
            "messages.reasoning": (assistant, "Hm."), "messages.name": (user, "Ann"),
            "messages.tool_call_id": (answered, "b"),
            "messages.tool_calls.id": (first_calls, "b"), "messages.tool_calls.name": (first_calls, "ask"),
            "messages.tool_calls.arguments_json": (first_calls, '{"a": 1}'),
            "messages.content_parts.text": (messages(dict(role="user")), "The king"),
            "tools.name": (with_tools, "ask"), "tools.description": (with_tools, "a joke"),
            "tools.parameters_json": (with_tools, '{"type": "object"}'),
            "template_options.thinking": (user, True), "template_options.reasoning_effort": (user, "low"),
            "template_options.variables_json": (user, {"extra": '"more"'}),
            "add_generation_prompt": (user, False), "continue_final_message": (assistant, True),
            "safe_mode": (messages(dict(USER, content="a<｜User｜>b")), True),
            "tool_choice.mode": (with_tools, pb.TOOL_CHOICE_MODE_REQUIRED),
            "tool_choice.function": (with_tools, "tell"),
        }
        for kind in ("image", "audio", "video", "file"):
            for part, value in (("url", "http://a"), ("data", b"a"), ("media_type", "image/png")):
                cases[f"messages.content_parts.{kind}.{part}"] = (messages(dict(role="user")), value)
        return cases

    @staticmethod
    def as_chat(*messages, **fields):
        return dict(messages=[pb.ChatMessage(**message) for message in messages], **fields)

    def expect_as_readme(self, refused, paths):
        prefixes = {path.rsplit(".", count)[0] for path in paths for count in (0, 1)}
        self.assertEqual(sorted(refused), sorted(readme.unimplemented() & prefixes))

    def test_chat(self):
        def make(**fields):
            message = pb.ChatRequest(**fields)
            if not message.sampling.HasField("seed"):
                message.sampling.seed = 7
            if not message.stopping.HasField("max_tokens"):
                message.stopping.max_tokens = 24
            return message
        baseline = Answer(self.daemon.generation.Chat(make(**self.as_chat(USER), output=pb.Output(token_ids=True))))
        groups = FieldsTest.cases_of(baseline)
        groups = {path: (dict(self.as_chat(USER), **base), value) for path, (base, value) in groups.items()
                  if path not in ("text", "token_ids.ids", "safe_mode", "add_special_tokens")}
        cases = groups | self.conversation_cases(self.as_chat) | {
            "parallel_tool_calls": (self.as_chat(USER), False)}
        self.assertEqual(sorted(paths_of(pb.ChatRequest.DESCRIPTOR)), sorted([*cases, *SHOWN_ELSEWHERE]))
        self.expect_as_readme(self.check("Chat", make, cases), cases)

    def test_tokenize(self):
        chat = {f"chat.{path}": (dict(chat=base), value)
                for path, (base, value) in self.conversation_cases(self.as_chat).items()}
        special = dict(text="Once<｜User｜>")
        cases = chat | {"text": (dict(text="a"), "b"), "model": (special, "another"),
                        "add_special_tokens": (special, False), "safe_mode": (special, True)}
        self.assertEqual(sorted(paths_of(pb.TokenizeRequest.DESCRIPTOR)), sorted(cases))
        refused = self.check("Tokenize", lambda **fields: pb.TokenizeRequest(**fields), cases)
        self.expect_as_readme({name.removeprefix("chat.") for name in refused},
                              {path.removeprefix("chat.") for path in cases})

    def test_score(self):
        special, soon = dict(text="Once<｜User｜>"), duration_pb2.Duration(nanos=1)
        cases = {"text": (special, "The king"), "token_ids.ids": (special, [0, 100, 200]),
                 "model": (special, "another"),
                 "request_id": (special, "mine"), "top_logprobs": (special, 2), "safe_mode": (special, True),
                 "add_special_tokens": (special, False),
                 "scheduling.queue_timeout": (special, soon), "scheduling.timeout": (special, soon),
                 "scheduling.ttft_slo": (special, soon)}
        self.assertEqual(sorted(paths_of(pb.ScoreRequest.DESCRIPTOR)), sorted([*cases, *SHARED]))
        self.expect_as_readme(self.check("Score", lambda **fields: pb.ScoreRequest(**fields), cases), cases)

    def test_detokenize(self):
        special = dict(token_ids=[0, 100, EOS])
        cases = {"token_ids": (special, [200]), "model": (special, "another"),
                 "skip_special_tokens": (special, False)}
        self.assertEqual(sorted(paths_of(pb.DetokenizeRequest.DESCRIPTOR)), sorted(cases))
        self.assertEqual(self.check("Detokenize", lambda **fields: pb.DetokenizeRequest(**fields), cases), set())

    def test_readme_names_no_field_that_does_not_exist(self):
        paths = {path for request_type in (pb.GenerateRequest, pb.ChatRequest)
                 for path in paths_of(request_type.DESCRIPTOR)}
        self.assertEqual({name for name in readme.unimplemented()
                          if not any(path == name or path.startswith(f"{name}.") for path in paths)}, set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
