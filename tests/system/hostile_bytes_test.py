"""Random bytes and mutated requests to every method: each gets a status, the daemon lives and its numbers add up."""
import collections
import concurrent.futures
import os
import random
import unittest

import grpc

import daemon
from daemon import admin_pb2, models_pb2, pb, request

SEED = int(os.environ.get("LATENTD_HOSTILE_SEED", 20261124))
NUM_RPCS = int(os.environ.get("LATENTD_HOSTILE_RPCS", 2000))
NUM_CLIENTS = 16

# Codes that a client can cause. UNKNOWN or INTERNAL would be a fault of the daemon.
ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
           grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.UNIMPLEMENTED,
           grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED,
           grpc.StatusCode.ABORTED}  # a mutation may ask Abort for all of them


def valid_requests():
    """method: messages with most of its fields set, cheap to answer."""
    groups = dict(
        sampling=pb.Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.01, presence_penalty=0.5,
                             frequency_penalty=0.5, repetition_penalty=1.1, logit_bias={5: 1.0, 9: -2.0},
                             allowed_token_ids=[100, 200, 300], seed=3, n=1),
        stopping=pb.Stopping(max_tokens=4, min_tokens=1, stop=["the", "end"], stop_token_ids=[7], include_stop=True),
        output=pb.Output(text=True, token_ids=True, token_bytes=True, logprobs=3))
    groups["scheduling"] = pb.Scheduling()
    groups["scheduling"].timeout.seconds = 30
    messages = [pb.ChatMessage(role="system", content="Be brief."), pb.ChatMessage(role="user", content="Hello 🦊")]
    call = pb.ToolCall(id="c", name="f", arguments_json='{"a": [1, "b"]}')
    calls = messages + [pb.ChatMessage(role="assistant", reasoning="Hm.", tool_calls=[call]),
                        pb.ChatMessage(role="tool", content="1", tool_call_id="c", name="f")]
    options = pb.TemplateOptions(thinking=True, reasoning_effort="low", variables_json={"n": '{"k": null}'})
    tools = [pb.Tool(name="f", description="d", parameters_json='{"type": "object"}')]
    return {
        "latentd.v1.Generation/Generate": [
            request(max_tokens=4), pb.GenerateRequest(text="Once upon a time, naïve", request_id="name", **groups),
            pb.GenerateRequest(token_ids=pb.TokenIds(ids=range(0, 600, 20)), model="tiny-tales", **groups)],
        "latentd.v1.Generation/GenerateOnce": [request(max_tokens=4), pb.GenerateRequest(text="A fox", **groups)],
        "latentd.v1.Generation/Chat": [pb.ChatRequest(messages=messages, **groups),
                                       pb.ChatRequest(messages=messages, safe_mode=True, **groups),
                                       pb.ChatRequest(messages=calls, tools=tools, template_options=options)],
        "latentd.v1.Generation/Score": [pb.ScoreRequest(text="The king said no.", top_logprobs=2)],
        "latentd.v1.Generation/Tokenize": [pb.TokenizeRequest(text="a b c"),
                                           pb.TokenizeRequest(chat=pb.ChatInput(messages=messages, safe_mode=True)),
                                           pb.TokenizeRequest(chat=pb.ChatInput(messages=calls, tools=tools))],
        "latentd.v1.Generation/Detokenize": [pb.DetokenizeRequest(token_ids=range(1, 500, 7))],
        "latentd.v1.Models/GetModel": [models_pb2.GetModelRequest(model="tiny-tales")],
        "latentd.v1.Models/ListModels": [models_pb2.ListModelsRequest()],
        # Not Drain, which ends the daemon, nor WatchLoad, which never ends; Abort only of names that are not in use.
        "latentd.v1.Admin/Abort": [admin_pb2.AbortRequest(request_ids=["nobody", "no one"])],
        "latentd.v1.Admin/GetLoad": [admin_pb2.GetLoadRequest()],
        "latentd.v1.Admin/ListRequests": [admin_pb2.ListRequestsRequest()],
        "latentd.v1.Admin/GetConfig": [admin_pb2.GetConfigRequest()],
        "latentd.v1.Admin/SetLogLevel": [admin_pb2.SetLogLevelRequest(level="info")],
    }


def mutate(data, other, rng):
    """One of the ways in which bytes go wrong; sometimes several."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 4:
            data[at:at] = data[rng.randrange(len(data) + 1):][:rng.randrange(1, 50)]
        else:
            data[at:] = other[rng.randrange(len(other) + 1):]
    return bytes(data)


def hostile_calls(rng):
    """NUM_RPCS pairs of a method and bytes: a quarter noise, the rest mutations."""
    valid = {method: [message.SerializeToString() for message in messages]
             for method, messages in valid_requests().items()}
    everything = [data for messages in valid.values() for data in messages]
    for _ in range(NUM_RPCS):
        method = rng.choice(sorted(valid))
        if rng.random() < 0.25:
            yield method, rng.randbytes(rng.choice([0, 1, 7, 100, 5000]))
        else:
            yield method, mutate(rng.choice(valid[method]), rng.choice(everything), rng)


class HostileBytesTest(unittest.TestCase):
    def call(self, server, method, data):
        streams = method.endswith(("Generate", "Chat"))
        channel = server.admin_channel if ".Admin/" in method else server.channel
        multi = channel.unary_stream if streams else channel.unary_unary
        call = multi("/" + method, lambda m: m, lambda m: m)
        try:
            answer = call(data, timeout=daemon.PATIENCE_SECONDS)
            if streams:
                collections.deque(answer, maxlen=0)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    def test_each_rpc_gets_a_status(self):
        rng = random.Random(SEED)
        with daemon.Daemon("--admin-listen", "127.0.0.1:0") as server:
            expected = server.once(request()).text
            free = server.available_blocks()
            with concurrent.futures.ThreadPoolExecutor(NUM_CLIENTS) as pool:
                codes = list(pool.map(lambda pair: self.call(server, *pair), hostile_calls(rng)))
            counts = collections.Counter(codes)
            print(f"seed {SEED}: " + ", ".join(f"{code.name} {count}" for code, count in counts.most_common()))
            self.assertEqual(len(codes), NUM_RPCS)
            self.assertLessEqual(set(codes), ALLOWED)
            self.assertGreater(counts[grpc.StatusCode.OK], NUM_RPCS / 40, "some mutations are harmless")
            self.assertGreater(counts[grpc.StatusCode.INVALID_ARGUMENT], NUM_RPCS / 4)
            self.assertEqual(server.once(request()).text, expected, "it serves on")
            server.wait_until_idle()
            self.assertEqual(server.sum("requests_received_total"), NUM_RPCS + 2)
            self.assertEqual(server.sum("requests_finished_total"), NUM_RPCS + 2)
            self.assertEqual(server.available_blocks(), free)


if __name__ == "__main__":
    unittest.main(verbosity=2)
