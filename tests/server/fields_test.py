"""No field of GenerateRequest is ignored: each one, set alone, changes what the client gets or is refused by name."""
import re
import unittest

import grpc
from google.protobuf import descriptor, duration_pb2

import daemon
import readme
from daemon import Answer, Details, pb, request

EOS = 1
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


class FieldsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon())
        cls.baseline = cls.daemon.once(request(output=pb.Output(token_ids=True)))
        assert len(cls.baseline.text) > 20, cls.baseline.text

    def seen(self, message):
        """What a client can tell apart: not times, not names that the server makes up, not the echo of the request."""
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
                answer.end.SerializeToString(), answer.completed.usage.SerializeToString())

    def cases(self):
        """path: (what the request holds besides, how to set the field)."""
        soon = duration_pb2.Duration(nanos=1)
        second_word = self.baseline.text.split()[1]
        third_id = self.baseline.token_ids[2]
        stop_in_text = dict(stopping=pb.Stopping(stop=[second_word]))
        return {
            "text": ({}, "The king said"),
            "token_ids.ids": ({}, [0, 100, 200]),
            "model": ({}, "another"),
            "request_id": ({}, "mine"),
            "sampling.temperature": ({}, 5.0),
            "sampling.top_p": ({}, 0.01),
            "sampling.top_k": ({"sampling": pb.Sampling(temperature=3, top_p=1)}, 1),
            "sampling.min_p": ({"sampling": pb.Sampling(temperature=3, top_p=1)}, 0.9),
            "sampling.presence_penalty": ({"sampling": pb.Sampling(temperature=0)}, 2.0),
            "sampling.frequency_penalty": ({"sampling": pb.Sampling(temperature=0)}, 2.0),
            "sampling.repetition_penalty": ({"sampling": pb.Sampling(temperature=0)}, 5.0),
            "sampling.logit_bias": ({}, {self.baseline.token_ids[0]: -100.0}),
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
            "cache.bypass": ({}, True),
            "cache.salt": ({}, "salt"),
            "cache.no_store": ({}, True),
            "scheduling.priority": ({}, 5),
            "scheduling.queue_timeout": ({}, soon),
            "scheduling.timeout": ({}, soon),
            "scheduling.ttft_slo": ({}, soon),
        }

    @staticmethod
    def set_path(message, path, value):
        *parents, name = path.split(".")
        for parent in parents:
            message = getattr(message, parent)
        if isinstance(value, dict):
            getattr(message, name).update(value)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        elif isinstance(value, duration_pb2.Duration):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)

    def test_every_field_has_a_case(self):
        self.assertEqual(sorted(paths_of(pb.GenerateRequest.DESCRIPTOR)), sorted(self.cases()))

    def test_baseline_is_the_same_twice(self):
        self.assertEqual(self.seen(request()), self.seen(request()))

    def test_no_field_is_ignored(self):
        refused = []
        for path, (base, value) in self.cases().items():
            with self.subTest(path=path):
                message = request(**base)
                without = self.seen(message)
                self.assertIsInstance(without[0], str, f"the request without {path} is answered: {without}")
                self.set_path(message, path, value)
                if path == "token_ids.ids":
                    self.assertEqual(message.WhichOneof("prompt"), "token_ids")
                with_field = self.seen(message)
                self.assertNotEqual(with_field, without, f"{path} is ignored")
                if with_field[0] == grpc.StatusCode.UNIMPLEMENTED:
                    self.assertEqual(with_field[1], "UNSUPPORTED_FEATURE")
                    self.assertTrue(path.startswith(with_field[2][0]), with_field)
                    refused.append(path)
        self.assertEqual(sorted(refused), sorted(readme.unimplemented()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
