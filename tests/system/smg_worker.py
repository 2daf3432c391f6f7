"""The daemon as the gateway smg sees it, by stubs of our own proto."""
import grpc

import daemon
from daemon import PATIENCE_SECONDS, Details
from smg import vllm_engine_pb2 as smg
from smg import vllm_engine_pb2_grpc

PROMPT = [0, 350, 411, 266, 270, 363]
EOS = 1


def smg_request(ids=PROMPT, *, stream=False, max_tokens=24, seed=7, request_id="", **params):
    """Without further words it draws as latentd.v1's do that say temperature=1."""
    return smg.GenerateRequest(request_id=request_id, tokenized=smg.TokenizedInput(input_ids=ids), stream=stream,
                               sampling_params=smg.SamplingParams(**{"temperature": 1, "seed": seed,
                                                                     "max_tokens": max_tokens, **params}))


class Worker(daemon.Daemon):
    def connect(self, addresses):
        super().connect(addresses)
        self.engine = vllm_engine_pb2_grpc.VllmEngineStub(self.channel)

    def responses(self, message):
        return list(self.engine.Generate(message, timeout=PATIENCE_SECONDS))

    def completes(self, message):
        """The complete answers by index; what was streamed before them is checked."""
        chunks, completes = {}, {}
        for response in self.responses(message):
            kind = response.WhichOneof("response")
            part = getattr(response, kind)
            assert part.index not in completes, "nothing follows a complete answer"
            if kind == "chunk":
                assert message.stream and part.token_ids
                chunks.setdefault(part.index, []).append(part)
            else:
                completes[part.index] = part
        for index, complete in completes.items():
            parts = chunks.get(index, [])
            if message.stream:
                assert [token for part in parts for token in part.token_ids] == list(complete.output_ids)
                assert parts[-1].completion_tokens == complete.completion_tokens
            assert all(part.prompt_tokens == complete.prompt_tokens for part in parts)
        return [completes[index] for index in sorted(completes)]

    def only(self, message):
        answers = self.completes(message)
        assert len(answers) == 1, answers
        return answers[0]

    def refusal(self, message):
        try:
            self.responses(message)
        except grpc.RpcError as error:
            return Details(error)
        raise AssertionError("expected a refusal, found an answer")
