"""VllmEngine.Generate, by our own stubs: every field is honoured or refused, and answers equal latentd.v1's."""
import unittest

import grpc
from google.protobuf import descriptor

import daemon
from daemon import Details, pb
from smg import vllm_engine_pb2 as smg
from smg_worker import EOS, PROMPT, Worker, smg_request


def logprobs_of(chunks):
    """(token, log-probability, best ones) of each token of an answer."""
    return [(token, logprob, list(zip(top.token_ids, top.values)))
            for chunk in chunks for token, logprob, top in zip(
                chunk.output_logprobs.token_ids, chunk.output_logprobs.token_logprobs,
                chunk.output_logprobs.top_logprobs)]


# What both APIs can say: parameters here, groups there.
SAME = {
    "greedy": (dict(temperature=0), dict(sampling=pb.Sampling(temperature=0))),
    "drawn": ({}, dict(sampling=pb.Sampling(temperature=1))),
    "filters": (dict(temperature=0.9, top_p=0.8, top_k=40, min_p=0.05),
                dict(sampling=pb.Sampling(temperature=0.9, top_p=0.8, top_k=40, min_p=0.05))),
    "penalties": (dict(repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=-0.25),
                  dict(sampling=pb.Sampling(temperature=1, repetition_penalty=1.3, presence_penalty=0.5,
                                            frequency_penalty=-0.25))),
    "bias": (dict(logit_bias={300: 30}), dict(sampling=pb.Sampling(temperature=1, logit_bias={300: 30}))),
    "end": (dict(logit_bias={EOS: 100}), dict(sampling=pb.Sampling(temperature=1, logit_bias={EOS: 100}))),
    "past the end": (dict(logit_bias={EOS: 100}, ignore_eos=True),
                     dict(sampling=pb.Sampling(temperature=1, logit_bias={EOS: 100}),
                          stopping=pb.Stopping(ignore_eos=True))),
    "not before": (dict(logit_bias={EOS: 100}, min_tokens=5),
                   dict(sampling=pb.Sampling(temperature=1, logit_bias={EOS: 100}),
                        stopping=pb.Stopping(min_tokens=5))),
    "three": (dict(n=3), dict(sampling=pb.Sampling(temperature=1, n=3))),
}
FINISH_REASONS = {pb.END_REASON_EOS: "stop", pb.END_REASON_STOP_STRING: "stop", pb.END_REASON_STOP_TOKEN: "stop",
                  pb.END_REASON_MAX_TOKENS: "length", pb.END_REASON_CONTEXT_LIMIT: "length"}


class GenerateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Worker())

    def latentd(self, groups, max_tokens=24):
        message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=PROMPT), **groups)
        message.sampling.seed = 7
        if not message.sampling.HasField("top_p"):
            message.sampling.top_p = 1  # the model's own default is another one
        message.stopping.max_tokens = max_tokens
        message.output.token_ids = True
        message.output.logprobs = 2
        return self.server.once(message)

    def test_answers_are_those_of_latentd_v1_token_for_token(self):
        for name, (params, groups) in SAME.items():
            expected = self.latentd(groups)
            for stream in (False, True):
                with self.subTest(name, stream=stream):
                    answers = self.server.completes(smg_request(stream=stream, **params))
                    self.assertEqual([list(answer.output_ids) for answer in answers],
                                     [sequence.token_ids for sequence in expected.sequences])
                    self.assertEqual([answer.finish_reason for answer in answers],
                                     [FINISH_REASONS[sequence.end.reason] for sequence in expected.sequences])
                    self.assertEqual([answer.completion_tokens for answer in answers],
                                     [sequence.end.output_tokens for sequence in expected.sequences])
                    self.assertEqual({answer.prompt_tokens for answer in answers}, {len(PROMPT)})

    def test_log_probabilities_are_those_of_latentd_v1(self):
        expected = [(token.token_id, token.logprob, [(top.token_id, top.logprob) for top in token.top])
                    for delta in self.latentd(SAME["drawn"][1]).deltas for token in delta.logprobs]
        self.assertEqual(len(expected), 24)
        self.assertEqual(logprobs_of([self.server.only(smg_request(logprobs=2))]), expected)
        responses = self.server.responses(smg_request(logprobs=2, stream=True))
        self.assertEqual(logprobs_of([response.chunk for response in responses]), expected)
        self.assertFalse(responses[-1].complete.HasField("output_logprobs"), "the chunks had them")
        self.assertFalse(self.server.only(smg_request()).HasField("output_logprobs"))

    def test_what_matched_is_told(self):
        whole = list(self.server.only(smg_request()).output_ids)
        stopped = self.server.only(smg_request(stop_token_ids=[whole[5]]))
        self.assertEqual((stopped.finish_reason, stopped.WhichOneof("matched_stop"), stopped.matched_token_id),
                         ("stop", "matched_token_id", whole[5]))
        text = self.server.generation.Detokenize(pb.DetokenizeRequest(token_ids=whole)).text
        stop = text[len(text) // 2:][:4]
        stopped = self.server.only(smg_request(stop=[stop]))
        self.assertEqual((stopped.finish_reason, stopped.matched_stop_str), ("stop", stop))
        self.assertEqual(list(stopped.output_ids), whole[:len(stopped.output_ids)])
        ended = self.server.only(smg_request(logit_bias={EOS: 100}))
        self.assertEqual((ended.finish_reason, ended.WhichOneof("matched_stop")), ("stop", None))
        self.assertEqual(self.server.only(smg_request()).WhichOneof("matched_stop"), None)

    def test_a_text_is_encoded_here(self):
        message = smg_request()
        message.text = "Once upon a time"
        expected = self.server.once(daemon.request(sampling=pb.Sampling(temperature=1, top_p=1, seed=7),
                                                   output=pb.Output(token_ids=True)))
        self.assertEqual(list(self.server.only(message).output_ids), expected.token_ids)

    def test_cached_tokens_are_told(self):
        ids = [901] + [400] * 200
        for cached in (0, 200):  # all but the last one, whose logits are wanted
            self.assertEqual(self.server.only(smg_request(ids, max_tokens=1)).cached_tokens, cached)

    def test_wrong_fields_are_named_as_their_client_knows_them(self):
        cases = [(smg_request(top_p=2), ["sampling_params.top_p"]),
                 (smg_request(max_tokens=0), ["sampling_params.max_tokens"]),
                 (smg_request(temperature=-1, n=65), ["sampling_params.temperature", "sampling_params.n"]),
                 (smg_request([1 << 20]), ["tokenized.input_ids[0]"]),
                 (smg_request([]), ["tokenized.input_ids"]),
                 (smg_request(logprobs=-1), ["sampling_params.logprobs"]),
                 (smg_request(logit_bias={-3: 1}), ["sampling_params.logit_bias[-3]"]),
                 (smg_request(stop=[""]), ["sampling_params.stop[0]"]),
                 (smg_request(request_id="two words"), ["request_id"]),
                 (smg.GenerateRequest(), ["input"])]
        for message, fields in cases:
            with self.subTest(fields=fields):
                details = self.server.refusal(message)
                self.assertEqual((details.code, details.reason, details.fields),
                                 (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", fields))
                self.assertIn(fields[0], details.message)
        details = self.server.refusal(smg_request([5] * 3000))
        self.assertEqual((details.reason, details.fields), ("CONTEXT_LENGTH_EXCEEDED", ["tokenized.input_ids"]))
        details = self.server.refusal(smg_request(max_tokens=2000, logprobs=32, n=32))
        self.assertEqual(details.reason, "ANSWER_TOO_LARGE")

    def test_a_field_that_this_server_does_not_know_is_refused_by_number(self):
        unknown = b"\xc8\x02\x01"  # field 41, a varint
        plain = smg_request().SerializeToString()
        nested = smg.GenerateRequest(tokenized=smg.TokenizedInput(input_ids=PROMPT)).SerializeToString() + \
            b"\x22" + bytes([len(unknown)]) + unknown
        call = self.server.channel.unary_stream("/vllm.grpc.engine.VllmEngine/Generate", bytes, bytes)
        self.assertTrue(list(call(plain)))
        for body, field in ((plain + unknown, "field 41"), (nested, "sampling_params.field 41")):
            with self.assertRaises(grpc.RpcError) as caught:
                list(call(body))
            details = Details(caught.exception)
            self.assertEqual((details.code, details.fields), (grpc.StatusCode.UNIMPLEMENTED, [field]))


def paths_of(message, prefix=""):
    for field in message.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        is_group = field.message_type is not None and not is_map and field.message_type.fields
        if is_group and field.label != descriptor.FieldDescriptor.LABEL_REPEATED:
            yield from paths_of(field.message_type, prefix + field.name + ".")
        else:
            yield prefix + field.name


PARAMS = "sampling_params."
# What each refused field is set to.
REFUSED = {
    PARAMS + "json_schema": dict(json_schema="{}"), PARAMS + "regex": dict(regex="a"),
    PARAMS + "grammar": dict(grammar="a"), PARAMS + "structural_tag": dict(structural_tag="a"),
    PARAMS + "json_object": dict(json_object=True),
    PARAMS + "choice.choices": dict(choice=smg.ChoiceConstraint(choices=["a"])),
    PARAMS + "prompt_logprobs": dict(prompt_logprobs=0),
    PARAMS + "truncate_prompt_tokens": dict(truncate_prompt_tokens=1),
    PARAMS + "grammar_from_first_token": dict(grammar_from_first_token=True),
    "kv_transfer_params": dict(kv_transfer_params=smg.KvTransferParams()),
    "kv_transfer_params_json": dict(kv_transfer_params_json=""), "mm_inputs": dict(mm_inputs=smg.MultimodalInputs()),
    "extra_mm_inputs": dict(extra_mm_inputs=[smg.MultimodalInputs()]), "media_refs": dict(media_refs=smg.MediaRefs()),
}
# Fields that change no token: the gateway makes the text, and original_text is for people.
TEXT_ONLY = {"tokenized.original_text", PARAMS + "spaces_between_special_tokens",
             PARAMS + "include_stop_str_in_output"}
# Fields that other tests show.
SHOWN = {
    "request_id": "AbortTest", "text": "test_a_text_is_encoded_here", "stream": "Worker.completes",
    "data_parallel_rank": "test_another_rank_is_refused",
    PARAMS + "logprobs": "test_log_probabilities_are_those_of_latentd_v1", PARAMS + "stop": "test_what_matched_is_told",
}
# Parameters to begin with, and what the field changes in their answer.
CHANGES = {
    "tokenized.input_ids": ({}, dict(ids=[0, 500])), PARAMS + "temperature": ({}, dict(temperature=0)),
    PARAMS + "top_p": ({}, dict(top_p=0.01)), PARAMS + "top_k": ({}, dict(top_k=1)),
    PARAMS + "min_p": ({}, dict(min_p=1)),
    PARAMS + "frequency_penalty": (dict(temperature=0), dict(frequency_penalty=2)),
    PARAMS + "presence_penalty": (dict(temperature=0), dict(presence_penalty=2)),
    PARAMS + "repetition_penalty": (dict(temperature=0), dict(repetition_penalty=20)),
    PARAMS + "max_tokens": ({}, dict(max_tokens=3)), PARAMS + "n": ({}, dict(n=2)),
    PARAMS + "min_tokens": (dict(logit_bias={EOS: 100}), dict(min_tokens=2)),
    PARAMS + "stop_token_ids": (dict(logit_bias={300: 100}), dict(stop_token_ids=[300])),
    PARAMS + "ignore_eos": (dict(logit_bias={EOS: 100}), dict(ignore_eos=True)),
    PARAMS + "seed": ({}, dict(seed=-8)), PARAMS + "logit_bias": ({}, dict(logit_bias={300: 100})),
    # A stop string that lies in the text of a special token, which is printed unless it is skipped.
    PARAMS + "skip_special_tokens": (dict(logit_bias={EOS: 100}, ignore_eos=True, stop=["end"]),
                                     dict(skip_special_tokens=True)),
}


class FieldsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Worker())

    def test_each_field_has_its_line(self):
        paths = set(paths_of(smg.GenerateRequest.DESCRIPTOR))
        lines = [set(REFUSED), TEXT_ONLY, set(SHOWN), set(CHANGES)]
        self.assertEqual(paths, set().union(*lines))
        self.assertEqual(len(paths), sum(map(len, lines)), "one line each")

    def test_what_is_not_honoured_is_refused_by_name(self):
        for path, value in REFUSED.items():
            with self.subTest(path):
                message = smg_request(**value) if path.startswith(PARAMS) else smg_request()
                if not path.startswith(PARAMS):
                    message.MergeFrom(smg.GenerateRequest(**value))
                details = self.server.refusal(message)
                self.assertEqual((details.code, details.reason, details.fields),
                                 (grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_FEATURE",
                                  [path.removesuffix(".choices")]))

    def test_what_is_refused_is_refused_by_name_however_large_it_is(self):
        image = b"\x3a" + bytes([0x80, 0x80, 0x40]) + bytes(1 << 20)  # mm_inputs, which has fields we do not have
        call = self.server.channel.unary_stream("/vllm.grpc.engine.VllmEngine/Generate", bytes, bytes)
        with self.assertRaises(grpc.RpcError) as caught:
            list(call(image + smg_request().SerializeToString()))
        self.assertEqual(Details(caught.exception).fields, ["mm_inputs"])

    def test_another_rank_is_refused(self):
        message = smg_request()
        message.data_parallel_rank = 0
        self.assertTrue(self.server.only(message).output_ids)
        message.data_parallel_rank = 1
        self.assertEqual(self.server.refusal(message).fields, ["data_parallel_rank"])

    def test_what_is_honoured_changes_the_answer(self):
        def answer(**params):
            completes = self.server.completes(smg_request(**params))
            return [(list(each.output_ids), each.finish_reason) for each in completes]

        for path, case in CHANGES.items():
            with self.subTest(path):
                before, change = case
                self.assertNotEqual(answer(**before), answer(**{**before, **change}))

    def test_zeros_of_what_was_not_sent_change_nothing(self):
        """Whatever the model's own defaults are: top_k=0 is off, top_p=0 and repetition_penalty=0 stand for 1."""
        plain = self.server.only(smg_request())
        for params in (dict(top_p=1), dict(repetition_penalty=1), dict(top_k=0), dict(n=1), dict(min_p=0)):
            self.assertEqual(list(self.server.only(smg_request(**params)).output_ids), list(plain.output_ids))


if __name__ == "__main__":
    unittest.main(verbosity=2)
