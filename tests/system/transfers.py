"""Causes that keep a message from coming in or an answer from going out, brought about one by one."""
import contextlib
import threading

import grpc

import daemon
from daemon import Details, models_pb2, pb, request, wait_until
from raw_http2 import HEADERS, RawClient, framed

# Places for two messages on their way in, room for two answers of ANSWER_BYTES on their way out.
FLAGS = ("--max-buffered-bytes", str(8 << 20))
ANSWER_BYTES = 3 << 20
MOST_WAITING = 1024  # RPCs that wait to be received


class RawStatus:
    """What the headers that end an RPC say in plain bytes; the reason is packed, so the daemon's count tells it."""

    def __init__(self, headers, server):
        at = headers.index(b"grpc-status\x01") + len(b"grpc-status\x01")
        number = int(headers[at:at + 1])
        self.code = next(code for code in grpc.StatusCode if code.value[0] == number)
        self.is_room_wanted = b"room for another request" in headers
        self.reasons = {reason for reason in CAUSES if server.sum("requests_finished_total", reason=reason)}


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return Details(error)
    raise AssertionError("expected a failure, found OK")


def detokenize_request(server, num_bytes):
    """Its answer has so many bytes or a few less."""
    token = server.generation.Tokenize(pb.TokenizeRequest(text=" king", add_special_tokens=False))
    size = len(b"".join(token.token_bytes))
    return pb.DetokenizeRequest(token_ids=list(token.token_ids) * (num_bytes // size))


def message_too_large(server):
    return failure(lambda: server.generation.Tokenize(pb.TokenizeRequest(text="a" * (4 << 20))))


def answer_too_large(server):
    accepted = (("latentd-max-answer-bytes", "1"),)
    return failure(lambda: server.models.GetModel(models_pb2.GetModelRequest(), metadata=accepted))


def slow_sender(server):
    """Two clients send headers and nothing more; a third one needs one of their places."""
    done = threading.Event()

    def nothing():
        done.wait()
        yield from ()

    with contextlib.ExitStack() as stack:
        stack.callback(done.set)
        calls = []
        for _ in range(2):
            channel = stack.enter_context(
                grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]))
            open_call = channel.stream_unary("/latentd.v1.Generation/Tokenize", lambda m: m, lambda m: m)
            calls.append(open_call.future(nothing()))
            wait_until(lambda: server.sum("buffered_bytes", kind="requests") == len(calls) * (4 << 20),
                       "it has a place")
        server.once(request())
        wait_until(lambda: any(call.done() for call in calls), "one of them lost its place")
        ended = next(call for call in calls if call.done())
        return failure(ended.result)


def intake_full(server):
    """One connection fills the places to wait in; another one comes."""
    with RawClient(server.address) as crowd, RawClient(server.address) as other:
        for i in range(MOST_WAITING):
            crowd.begin("Tokenize", stream=2 * i + 1)
        wait_until(lambda: server.sum("requests_in_flight") == MOST_WAITING, "all are there")
        for i in range(3):
            other.begin("Tokenize", stream=2 * i + 1)
        while True:
            status = RawStatus(crowd.read_until(HEADERS)[1], server)
            if status.is_room_wanted:
                return status


def answers_full(server):
    """Two unread answers leave no room for a third one."""
    message = detokenize_request(server, ANSWER_BYTES)
    with contextlib.ExitStack() as stack:
        for i in range(2):
            client = stack.enter_context(RawClient(server.address, window=10))
            client.begin("Detokenize")
            client.send_body(framed(message.SerializeToString()))
            wait_until(lambda: server.sum("buffered_bytes", kind="answers") > i * ANSWER_BYTES + (1 << 20),
                       "its answer waits")
        return failure(lambda: server.generation.Detokenize(message))


CAUSES = {"MESSAGE_TOO_LARGE": message_too_large, "ANSWER_TOO_LARGE": answer_too_large, "SLOW_SENDER": slow_sender,
          "INTAKE_FULL": intake_full, "ANSWERS_FULL": answers_full}
