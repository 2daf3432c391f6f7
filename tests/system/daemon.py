"""The real daemon under test: starts it on free ports, talks to it, reads its metrics. Shares no code with it."""
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "models/tiny-tales"
BIN = pathlib.Path(os.environ.get("LATENTD_BIN", ROOT / "build/release/bin"))
STUBS = pathlib.Path(os.environ.get("LATENTD_STUBS", ROOT / "build/release/tests/system/stubs"))
PATIENCE_SECONDS = 60  # for anything that happens soon on a machine that is not broken
MAX_LOG_SHOWN = 20000  # characters of a daemon that failed
# Every daemon that a test starts takes free ports, unless a flag names one: tests run side by side.
os.environ.update(LATENTD_LISTEN="127.0.0.1:0", LATENTD_METRICS_LISTEN="127.0.0.1:0")

sys.path.insert(0, str(STUBS))
from google.rpc import error_details_pb2, status_pb2  # noqa: E402
from latentd.v1 import generation_pb2 as pb  # noqa: E402
from latentd.v1 import admin_pb2, admin_pb2_grpc, generation_pb2_grpc, models_pb2, models_pb2_grpc  # noqa: E402


def wait_until(condition, what, patience_seconds=PATIENCE_SECONDS):
    """Polls `condition` until it is true; what the daemon counts can't be waited for in another way."""
    deadline = time.monotonic() + patience_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not true after {patience_seconds} s: {what}")
        pause.wait(0.005)


def run(*flags, **variables):
    """latentd with these flags and environment, to its end: for a start that is refused."""
    return subprocess.run([BIN / "latentd", *flags], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=PATIENCE_SECONDS, env={**os.environ, **variables})


class Details:
    """The google.rpc details of a failed RPC."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        status = status_pb2.Status()
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status.ParseFromString(value)
        self.status_code = status.code
        self.reason, self.metadata, self.fields, self.retry_seconds = "", {}, [], None
        self.domain, self.request_id, self.resource, self.quotas = "", "", None, []
        for detail in status.details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry, live = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
            resource, quota = error_details_pb2.ResourceInfo(), error_details_pb2.QuotaFailure()
            if detail.Unpack(info):
                self.reason, self.metadata, self.domain = info.reason, dict(info.metadata), info.domain
            elif detail.Unpack(bad):
                self.fields = [violation.field for violation in bad.field_violations]
            elif detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
            elif detail.Unpack(live):
                self.request_id = live.request_id
            elif detail.Unpack(quota):
                self.quotas = [violation.subject for violation in quota.violations]
            elif detail.Unpack(resource):
                self.resource = (resource.resource_type, resource.resource_name)


def failure_of(call):
    """How a stream ends, or a unary call that a function makes."""
    try:
        call() if callable(call) else list(call)
    except grpc.RpcError as error:
        return Details(error)
    raise AssertionError("expected a failure, found OK")


def replace(path, content):
    """As tools change files: another one, of a text or of bytes, in its place."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content.encode() if isinstance(content, str) else content)
    fresh.rename(path)


class Sequence:
    """One of a request's answers."""

    def __init__(self):
        self.deltas, self.end = [], None

    @property
    def text(self):
        return "".join(delta.text for delta in self.deltas)

    @property
    def token_ids(self):
        return [token for delta in self.deltas for token in delta.token_ids]


class Answer:
    """A stream of events read to its end, and checked against the grammar of generation.proto. It has a Sequence for
    each index; `deltas`, `end`, `text` and `token_ids` are those of the first."""

    def __init__(self, events):
        self.started, self.completed, self.sequences = None, None, []
        for event in events:
            kind = event.WhichOneof("event")
            assert self.completed is None, f"{kind} after completed"
            if kind == "started":
                assert self.started is None
                self.started = event.started
                self.sequences = [Sequence() for _ in range(event.started.sampling.n)]
            elif kind == "delta":
                sequence = self.sequences[event.delta.index]
                assert sequence.end is None
                before = sequence.deltas[-1].tokens_so_far if sequence.deltas else 0
                assert event.delta.tokens_so_far >= before
                sequence.deltas.append(event.delta)
            elif kind == "sequence_end":
                sequence = self.sequences[event.sequence_end.index]
                assert sequence.end is None
                sequence.end = event.sequence_end
            else:
                assert self.started is not None and all(sequence.end is not None for sequence in self.sequences)
                self.completed = event.completed
        first = self.sequences[0] if self.sequences else Sequence()
        self.deltas, self.end, self.text, self.token_ids = first.deltas, first.end, first.text, first.token_ids


class Daemon:
    """Use as a context: leaving it stops the daemon and asserts that it exits 0."""

    token = None  # what scrapes show

    def __init__(self, *flags, model=MODEL, under=(), program=BIN / "latentd", token=None):
        """`under` is the beginning of a command that runs what stands behind it: taskset, nice."""
        self.token = token
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        port_file = self.folder / "ports.json"
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(
                [*under, program, "--model", model, "--port-file", port_file,
                 *([] if "--threads" in flags else ["--threads", "2"]), *flags],
                stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: port_file.exists() or self.process.poll() is not None, "the daemon serves or exits")
        assert self.process.poll() is None, self.log_text()
        self.connect(json.loads(port_file.read_text()))

    def connect(self, addresses):
        self.addresses = addresses
        self.address, self.metrics_address = addresses["grpc"], addresses["metrics"]
        self.channel = grpc.insecure_channel(self.address)
        self.generation = generation_pb2_grpc.GenerationStub(self.channel)
        self.models = models_pb2_grpc.ModelsStub(self.channel)
        self.admin_address = addresses.get("admin")  # none unless a flag turns it on
        if self.admin_address:
            self.admin_channel = grpc.insecure_channel(self.admin_address)
            self.admin = admin_pb2_grpc.AdminStub(self.admin_channel)

    def disconnect(self):
        self.channel.close()
        if self.admin_address:
            self.admin_channel.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.disconnect()
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(PATIENCE_SECONDS)
        text = self.log_text()[-MAX_LOG_SHOWN:]
        shutil.rmtree(self.folder)
        assert kind is not None or code == 0, f"exit code {code}\n{text}"

    def log_text(self):
        return (self.folder / "log").read_text()

    def await_log(self, pattern):
        """The first match in the log, which another thread of the daemon writes."""
        wait_until(lambda: re.search(pattern, self.log_text()), f"the log says {pattern}")
        return re.search(pattern, self.log_text())

    def once(self, request):
        return Answer(self.generation.Generate(request, timeout=PATIENCE_SECONDS))

    def health(self, service=""):
        """Serving status of grpc.health.v1: 1 is SERVING, 2 is NOT_SERVING."""
        name = service.encode()
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check", lambda m: m, lambda m: m)
        answer = check(b"\x0a" + bytes([len(name)]) + name if name else b"", timeout=PATIENCE_SECONDS)
        return answer[1]

    def metrics(self):
        """Every sample of one scrape: {'name{labels}': value}."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        scrape = urllib.request.Request(f"http://{self.metrics_address}/metrics", headers=headers)
        with urllib.request.urlopen(scrape, timeout=PATIENCE_SECONDS) as page:
            lines = page.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def sum(self, name, **labels):
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for sample, value in self.metrics().items()
                   if re.split(r"[{ ]", sample)[0] == f"latentd_{name}" and all(label in sample for label in wanted))

    def available_blocks(self):
        """Held by no request: free ones, and those that the prefix cache gives up for others."""
        return self.sum("kv_blocks", state="free") + self.sum("kv_blocks", state="cached")

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self):
        """The most that was ever resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10

    def num_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def wait_until_idle(self):
        wait_until(lambda: self.sum("requests_in_flight") == 0, "no request in flight")
        wait_until(lambda: self.sum("kv_blocks", state="active") == 0, "every block is home")


def request(text="Once upon a time", *, max_tokens=24, seed=7, **groups):
    message = pb.GenerateRequest(text=text, **groups)
    if not message.sampling.HasField("seed"):
        message.sampling.seed = seed
    if not message.stopping.HasField("max_tokens"):
        message.stopping.max_tokens = max_tokens
    return message


def http_get(server, path, method="GET", **headers):
    """Status, body and the answer itself of the metrics port."""
    connection = http.client.HTTPConnection(server.metrics_address, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer
    finally:
        connection.close()


# Flags under which an unread held_request stays in phase decode for as long as a test likes, whatever the
# machine's speed; there are places for two of them, so that a third one waits.
HOLD_TWO = ("--max-pending-bytes", "1024", "--slow-consumer-seconds", "3600", "--max-started", "2")


def held_request(name, seed=7):
    """More output than the connection takes unread: its sequence pauses until somebody reads."""
    message = long_request(seed)
    message.request_id = name
    message.output.logprobs = 32
    return message


def stubborn_channel(server):
    """A connection of its own whose client grants the server no more than it must: unread answers soon wait there."""
    return grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0),
                                                  ("grpc.http2.lookahead_bytes", 1024)])


def long_request(seed=7, max_tokens=1900):
    """Runs for as many tokens as it is told to: end-of-sequence does not end it."""
    return request(seed=seed, stopping=pb.Stopping(max_tokens=max_tokens, ignore_eos=True))
