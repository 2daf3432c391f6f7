"""A latentd.v1 server that does what a test tells it to, call by call."""
import pathlib
import subprocess
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from latentd.v1 import generation_pb2 as pb
from latentd.v1 import generation_pb2_grpc

PATIENCE_SECONDS = 60


class Refusal:
    """A status as latentd sends it."""

    def __init__(self, code, reason, *, retry_seconds=None, pushback=None, fields=(), **metadata):
        self.code, self.message = code, f"expected {reason}, found it; change it"
        details = [error_details_pb2.ErrorInfo(domain="latentd", reason=reason, metadata=metadata)]
        if retry_seconds is not None:
            delay = duration_pb2.Duration(nanos=int(retry_seconds * 1e9) % 10**9, seconds=int(retry_seconds))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        if fields:
            violations = [error_details_pb2.BadRequest.FieldViolation(field=f, description="wrong") for f in fields]
            details.append(error_details_pb2.BadRequest(field_violations=violations))
        status = status_pb2.Status(code=code.value[0], message=self.message)
        for detail in details:
            status.details.append(any_pb2.Any(type_url=f"type.googleapis.com/{detail.DESCRIPTOR.full_name}",
                                              value=detail.SerializeToString()))
        self.trailers = [("grpc-status-details-bin", status.SerializeToString())]
        if pushback is not None:
            self.trailers.append(("grpc-retry-pushback-ms", pushback))

    def __call__(self, server, context):
        context.set_trailing_metadata(self.trailers)
        context.abort(self.code, self.message)


def queue_full(retry_seconds=0.02, **more):
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry_seconds=retry_seconds, **more)


def events(*texts, end=pb.END_REASON_MAX_TOKENS, is_whole=True):
    yield pb.GenerateEvent(started=pb.Started(request_id="fake", sampling=pb.Sampling(n=1)))
    for number, text in enumerate(texts, 1):
        yield pb.GenerateEvent(delta=pb.Delta(text=text, tokens_so_far=number))
    if is_whole:
        yield pb.GenerateEvent(sequence_end=pb.SequenceEnd(reason=end, output_tokens=len(texts)))
        yield pb.GenerateEvent(completed=pb.Completed(usage=pb.Usage(generated_tokens=len(texts))))


def answer(server, context):
    yield from events("Once", " upon")


def cut_answer(server, context):
    yield from events("Once", is_whole=False)


def failing_answer(server, context):
    yield from events("Once", is_whole=False)
    queue_full()(server, context)


def endless_answer(server, context):
    """Ends with the client's interest in it, which the server remembers."""
    context.add_callback(server.cancelled.set)
    yield from events("Once", is_whole=False)
    server.cancelled.wait(PATIENCE_SECONDS)


class FakeServer(generation_pb2_grpc.GenerationServicer):
    """Use as a context. Plays one of `plays` for each call, the last one again and again."""

    def __init__(self, *plays, credentials=None):
        self.plays, self.calls, self.cancelled = list(plays), [], threading.Event()
        self.seconds_left, self.arrived = [], threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        generation_pb2_grpc.add_GenerationServicer_to_server(self, self.server)
        if credentials is None:
            self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        else:
            self.address = f"localhost:{self.server.add_secure_port('localhost:0', credentials)}"

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.cancelled.set()
        self.server.stop(0).wait()

    def play(self, request, context):
        self.calls.append((time.monotonic(), request, dict(context.invocation_metadata())))
        self.seconds_left.append(context.time_remaining())
        self.arrived.set()
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        return play(self, context)

    def Generate(self, request, context):
        yield from self.play(request, context)

    Chat = Generate

    def Score(self, request, context):
        self.play(request, context)
        return pb.ScoreResult(prompt_tokens=3)

    def gaps(self):
        times = [call[0] for call in self.calls]
        return [later - earlier for earlier, later in zip(times, times[1:])]


def make_certificates(folder):
    """ca.pem with server.pem for localhost and client.pem, and other.pem, an authority that signed nothing."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    (pathlib.Path(folder) / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", f"{name}.pem")
