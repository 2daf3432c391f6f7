"""The client for threads."""
from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Self, Unpack

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from . import _requests as requests
from ._call import WATCH_PAUSE, Call
from ._connection import TLS, Connection, Metadata, Token
from ._errors import cancelled_here, cut_short
from ._result import Result
from ._retry import Attempts, Retry
from .v1 import generation_pb2 as pb
from .v1 import generation_pb2_grpc, models_pb2, models_pb2_grpc


class Stream:
    """A generation that runs: iterate once for its Deltas; `so_far` is all that came. Leaving the loop early and
    cancel() end it on the server, too, within one step. As a context manager it is cancelled at the end."""

    def __init__(self, call: Call) -> None:
        self.so_far = Result()
        self._call = call
        self._cancelled = threading.Event()
        self._rpc = call.start()

    def __iter__(self) -> Iterator[pb.Delta]:
        """Raises Error. Unread output waits at the server, which ends requests that are not read: SLOW_CONSUMER."""
        try:
            while not self.so_far.is_complete:
                try:
                    yield from self._read()
                except grpc.RpcError as failure:
                    self._try_again(failure)
        finally:
            self.cancel()

    def result(self) -> Result:
        """Reads to the end. Raises Error."""
        for _ in self:
            pass
        return self.so_far

    def cancel(self) -> None:
        """From any thread; a thread that iterates gets Cancelled."""
        self._cancelled.set()
        self._rpc.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def _read(self) -> Iterator[pb.Delta]:
        for event in self._rpc:
            delta = self.so_far._add(event)
            if delta is not None:
                yield delta
        if not self.so_far.is_complete:
            raise cut_short()

    def _try_again(self, failure: grpc.RpcError) -> None:
        if self.so_far.started is not None:
            raise self._call.error(failure)
        if not self._cancelled.wait(self._call.next_wait(failure)):
            self._rpc = self._call.start()
        if self._cancelled.is_set():  # perhaps before there was a new try to cancel
            self._rpc.cancel()
            raise cancelled_here()


class Client:
    """A connection to one latentd. Any number of threads may use it, at the same time.

    Each call may raise Error: InvalidRequest, Unauthorized, Overloaded, LimitExceeded, Unavailable, DeadlineExceeded,
    Cancelled or ServerFault, which carry code, reason and details. Arguments of the wrong type raise TypeError.
    """

    def __init__(self, target: str = "127.0.0.1:50051", *, tls: TLS | None = None, token: Token | None = None,
                 tenant: str | None = None, timeout: float | None = None, retry: Retry = Retry(),
                 insecure: bool = False, options: Sequence[tuple[str, Any]] = ()) -> None:
        """
        target: "host:port", "unix:/path" or any other name that gRPC resolves.
        tls: how to trust the server, and the client's certificate. None: plain text.
        token: for "authorization: Bearer", or a function that gives the current one for each call.
        tenant: counts where the server asks for no credentials; with them the credential names the tenant.
        timeout: seconds for each call that names none, waits between tries included. None: no deadline.
        retry: when refused calls are tried again.
        insecure: lets a token go out in plain text beyond this machine.
        options: of the gRPC channel.

        Raises ValueError for arguments that do not fit together, OSError for a PEM file that can't be read. Connects
        with the first call.
        """
        self._connection = Connection(target, tls, token, tenant, insecure, options)
        self._timeout, self._retry = timeout, retry
        #: For what this client does not wrap: latentd.v1.admin_pb2_grpc.AdminStub(client.channel).
        self.channel = self._connection.channel()
        self._generation = generation_pb2_grpc.GenerationStub(self.channel)
        self._models = models_pb2_grpc.ModelsStub(self.channel)
        self._health = health_pb2_grpc.HealthStub(self.channel)

    def close(self) -> None:
        """Ends every call that runs."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def generate(self, prompt: requests.Prompt, *, timeout: float | None = None, metadata: Metadata = (),
                 **parameters: Unpack[requests.GenerateParameters]) -> Stream:
        """Goes on from a text or from token ids. Starts at once; the Stream brings the output, or the Error."""
        request = requests.generate_request(prompt, parameters)
        return Stream(self._call(self._generation.Generate, request, timeout, metadata))

    def chat(self, messages: requests.Messages, *, timeout: float | None = None, metadata: Metadata = (),
             **parameters: Unpack[requests.ChatParameters]) -> Stream:
        """Answers a conversation, by the model's own chat template."""
        request = requests.chat_request(messages, parameters)
        return Stream(self._call(self._generation.Chat, request, timeout, metadata))

    def score(self, prompt: requests.Prompt, *, timeout: float | None = None, metadata: Metadata = (),
              **parameters: Unpack[requests.ScoreParameters]) -> pb.ScoreResult:
        """Log-probability of each prompt token after the first. Generates nothing."""
        request = requests.score_request(prompt, parameters)
        result: pb.ScoreResult = self._unary(self._generation.Score, request, timeout, metadata)
        return result

    def tokenize(self, text: str, *, add_special_tokens: bool | None = None, safe_mode: bool | None = None,
                 timeout: float | None = None) -> pb.TokenizeResult:
        """Token ids and their bytes, as generate() would encode the text."""
        request = pb.TokenizeRequest(text=text, add_special_tokens=add_special_tokens, safe_mode=safe_mode)
        result: pb.TokenizeResult = self._unary(self._generation.Tokenize, request, timeout)
        return result

    def tokenize_chat(self, messages: requests.Messages, *, timeout: float | None = None,
                      **parameters: Unpack[requests.TemplateParameters]) -> pb.TokenizeResult:
        """The prompt that chat() would make of these messages, rendered and as token ids."""
        request = pb.TokenizeRequest(chat=requests.chat_input(messages, parameters))
        result: pb.TokenizeResult = self._unary(self._generation.Tokenize, request, timeout)
        return result

    def detokenize(self, token_ids: Sequence[int], *, skip_special_tokens: bool | None = None,
                   timeout: float | None = None) -> str:
        """The text of token ids; U+FFFD stands for what is no UTF-8."""
        request = pb.DetokenizeRequest(token_ids=token_ids, skip_special_tokens=skip_special_tokens)
        result: pb.DetokenizeResult = self._unary(self._generation.Detokenize, request, timeout)
        return result.text

    def model(self, name: str | None = None, *, timeout: float | None = None) -> models_pb2.Model:
        """The model that is served: its shape, limits and defaults. InvalidRequest for another name."""
        request = models_pb2.GetModelRequest(model=name)
        result: models_pb2.Model = self._unary(self._models.GetModel, request, timeout)
        return result

    def models(self, *, timeout: float | None = None) -> list[models_pb2.Model]:
        """All models that are served."""
        request = models_pb2.ListModelsRequest()
        result: models_pb2.ListModelsResult = self._unary(self._models.ListModels, request, timeout)
        return list(result.models)

    def is_serving(self, service: str = "", *, timeout: float | None = None) -> bool:
        """Whether it takes requests now. False while the model loads, the server drains or the engine is stuck."""
        request = health_pb2.HealthCheckRequest(service=service)
        answer: health_pb2.HealthCheckResponse = self._unary(self._health.Check, request, timeout)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def wait_until_serving(self, timeout: float, service: str = "") -> None:
        """Returns as soon as it serves. Raises DeadlineExceeded after `timeout` seconds."""
        request = health_pb2.HealthCheckRequest(service=service)
        watching = self._call(self._health.Watch, request, timeout)
        while True:
            watch = watching.start(wait_for_ready=True)
            try:
                for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.RpcError as failure:
                watching.raise_unless_retryable(failure)
            finally:
                watch.cancel()
            threading.Event().wait(WATCH_PAUSE)

    def _call(self, method: Any, request: Message, timeout: float | None, metadata: Metadata = ()) -> Call:
        attempts = Attempts(self._retry, self._timeout if timeout is None else timeout)
        return Call(method, request, self._connection, attempts, metadata)

    def _unary(self, method: Any, request: Message, timeout: float | None, metadata: Metadata = ()) -> Any:
        call = self._call(method, request, timeout, metadata)
        while True:
            try:
                return call.start()
            except grpc.RpcError as failure:
                seconds = call.next_wait(failure)
            threading.Event().wait(seconds)
