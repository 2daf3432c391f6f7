"""The client for asyncio. The calls are those of Client, which describes them."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
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


class AsyncStream:
    """A generation that runs: iterate once for its Deltas; `so_far` is all that came. Leaving the loop early, cancel()
    and the end of a task that iterates end it on the server, too, within one step. As a context manager it is
    cancelled at the end."""

    def __init__(self, call: Call) -> None:
        self.so_far = Result()
        self._call = call
        self._cancelled = asyncio.Event()
        self._rpc = call.start()

    async def __aiter__(self) -> AsyncIterator[pb.Delta]:
        """Raises Error. Unread output waits at the server, which ends requests that are not read: SLOW_CONSUMER."""
        try:
            while not self.so_far.is_complete:
                try:
                    async for event in self._rpc:
                        delta = self.so_far._add(event)
                        if delta is not None:
                            yield delta
                    if not self.so_far.is_complete:
                        raise cut_short()
                except grpc.RpcError as failure:
                    await self._try_again(failure)
                except asyncio.CancelledError:
                    # gRPC raises it for a call that was cancelled, too, where no task is.
                    task = asyncio.current_task()
                    if self._cancelled.is_set() and (task is None or task.cancelling() == 0):
                        raise cancelled_here() from None
                    raise
        finally:
            self.cancel()

    async def result(self) -> Result:
        """Reads to the end. Raises Error."""
        async for _ in self:
            pass
        return self.so_far

    def cancel(self) -> None:
        """A task that iterates gets Cancelled."""
        self._cancelled.set()
        self._rpc.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    async def _try_again(self, failure: grpc.RpcError) -> None:
        if self.so_far.started is not None:
            raise self._call.error(failure)
        seconds = self._call.next_wait(failure)
        try:
            await asyncio.wait_for(self._cancelled.wait(), seconds)
        except asyncio.TimeoutError:
            self._rpc = self._call.start()
        else:
            raise cancelled_here()


class AsyncClient:
    """A connection to one latentd, for the tasks of one event loop: make it where that runs. Its streams start at once
    and run side by side. Raises as Client does."""

    def __init__(self, target: str = "127.0.0.1:50051", *, tls: TLS | None = None, token: Token | None = None,
                 tenant: str | None = None, timeout: float | None = None, retry: Retry = Retry(),
                 insecure: bool = False, options: Sequence[tuple[str, Any]] = ()) -> None:
        """As Client."""
        self._connection = Connection(target, tls, token, tenant, insecure, options)
        self._timeout, self._retry = timeout, retry
        #: For what this client does not wrap: latentd.v1.admin_pb2_grpc.AdminStub(client.channel).
        self.channel = self._connection.aio_channel()
        self._generation = generation_pb2_grpc.GenerationStub(self.channel)
        self._models = models_pb2_grpc.ModelsStub(self.channel)
        self._health = health_pb2_grpc.HealthStub(self.channel)

    async def close(self) -> None:
        """Ends every call that runs."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def generate(self, prompt: requests.Prompt, *, timeout: float | None = None, metadata: Metadata = (),
                 **parameters: Unpack[requests.GenerateParameters]) -> AsyncStream:
        """Goes on from a text or from token ids."""
        request = requests.generate_request(prompt, parameters)
        return AsyncStream(self._call(self._generation.Generate, request, timeout, metadata))

    def chat(self, messages: requests.Messages, *, timeout: float | None = None, metadata: Metadata = (),
             **parameters: Unpack[requests.ChatParameters]) -> AsyncStream:
        """Answers a conversation, by the model's own chat template."""
        request = requests.chat_request(messages, parameters)
        return AsyncStream(self._call(self._generation.Chat, request, timeout, metadata))

    async def score(self, prompt: requests.Prompt, *, timeout: float | None = None, metadata: Metadata = (),
                    **parameters: Unpack[requests.ScoreParameters]) -> pb.ScoreResult:
        """Log-probability of each prompt token after the first."""
        request = requests.score_request(prompt, parameters)
        result: pb.ScoreResult = await self._unary(self._generation.Score, request, timeout, metadata)
        return result

    async def tokenize(self, text: str, *, add_special_tokens: bool | None = None, safe_mode: bool | None = None,
                       timeout: float | None = None) -> pb.TokenizeResult:
        """Token ids and their bytes, as generate() would encode the text."""
        request = pb.TokenizeRequest(text=text, add_special_tokens=add_special_tokens, safe_mode=safe_mode)
        result: pb.TokenizeResult = await self._unary(self._generation.Tokenize, request, timeout)
        return result

    async def tokenize_chat(self, messages: requests.Messages, *, timeout: float | None = None,
                            **parameters: Unpack[requests.TemplateParameters]) -> pb.TokenizeResult:
        """The prompt that chat() would make of these messages, rendered and as token ids."""
        request = pb.TokenizeRequest(chat=requests.chat_input(messages, parameters))
        result: pb.TokenizeResult = await self._unary(self._generation.Tokenize, request, timeout)
        return result

    async def detokenize(self, token_ids: Sequence[int], *, skip_special_tokens: bool | None = None,
                         timeout: float | None = None) -> str:
        """The text of token ids."""
        request = pb.DetokenizeRequest(token_ids=token_ids, skip_special_tokens=skip_special_tokens)
        result: pb.DetokenizeResult = await self._unary(self._generation.Detokenize, request, timeout)
        return result.text

    async def model(self, name: str | None = None, *, timeout: float | None = None) -> models_pb2.Model:
        """The model that is served: its shape, limits and defaults."""
        request = models_pb2.GetModelRequest(model=name)
        result: models_pb2.Model = await self._unary(self._models.GetModel, request, timeout)
        return result

    async def models(self, *, timeout: float | None = None) -> list[models_pb2.Model]:
        """All models that are served."""
        request = models_pb2.ListModelsRequest()
        result: models_pb2.ListModelsResult = await self._unary(self._models.ListModels, request, timeout)
        return list(result.models)

    async def is_serving(self, service: str = "", *, timeout: float | None = None) -> bool:
        """Whether it takes requests now."""
        request = health_pb2.HealthCheckRequest(service=service)
        answer: health_pb2.HealthCheckResponse = await self._unary(self._health.Check, request, timeout)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    async def wait_until_serving(self, timeout: float, service: str = "") -> None:
        """Returns as soon as it serves. Raises DeadlineExceeded after `timeout` seconds."""
        request = health_pb2.HealthCheckRequest(service=service)
        watching = self._call(self._health.Watch, request, timeout)
        while True:
            watch = watching.start(wait_for_ready=True)
            try:
                async for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.RpcError as failure:
                watching.raise_unless_retryable(failure)
            finally:
                watch.cancel()
            await asyncio.sleep(WATCH_PAUSE)

    def _call(self, method: Any, request: Message, timeout: float | None, metadata: Metadata = ()) -> Call:
        attempts = Attempts(self._retry, self._timeout if timeout is None else timeout)
        return Call(method, request, self._connection, attempts, metadata)

    async def _unary(self, method: Any, request: Message, timeout: float | None, metadata: Metadata = ()) -> Any:
        call = self._call(method, request, timeout, metadata)
        while True:
            try:
                return await call.start()
            except grpc.RpcError as failure:
                seconds = call.next_wait(failure)
            await asyncio.sleep(seconds)
