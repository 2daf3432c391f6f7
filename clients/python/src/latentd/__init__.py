"""Client of latentd, a gRPC server of language models.

    with latentd.Client("127.0.0.1:50051") as client:
        for delta in client.generate("Once upon a time", max_tokens=64):
            print(delta.text, end="", flush=True)

Client is for threads, AsyncClient for asyncio. Messages of the API are those of proto/latentd/v1, as generated: what is
named here, and all others in latentd.v1.
"""
from ._async_client import AsyncClient, AsyncStream
from ._client import Client, Stream
from ._connection import TLS
from ._errors import (Cancelled, DeadlineExceeded, Error, FieldViolation, InvalidRequest, LimitExceeded, Overloaded,
                      ServerFault, Unauthorized, Unavailable)
from ._requests import ChatParameters, GenerateParameters, ScoreParameters, TemplateParameters, tool, tool_result
from ._result import Answer, EndReason, Result
from ._retry import Retry
from .v1.generation_pb2 import (Cache, ChatMessage, Constraint, Delta, Output, Scheduling, ScoreResult, Speculation,
                                TemplateOptions, TokenizeResult, Tool, ToolCall, ToolChoice)
from .v1.models_pb2 import Model

__all__ = [
    "Answer", "AsyncClient", "AsyncStream", "Cache", "Cancelled", "ChatMessage", "ChatParameters", "Client",
    "Constraint", "DeadlineExceeded", "Delta", "EndReason", "Error", "FieldViolation", "GenerateParameters",
    "InvalidRequest", "LimitExceeded", "Model", "Output", "Overloaded", "Result", "Retry", "Scheduling",
    "ScoreParameters", "ScoreResult", "ServerFault", "Speculation", "Stream", "TLS", "TemplateOptions",
    "TemplateParameters", "TokenizeResult", "Tool", "ToolCall", "ToolChoice", "Unauthorized", "Unavailable", "tool",
    "tool_result",
]
