"""One call, from its first try to its last, for either client."""
from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import Message

from ._connection import Connection, Metadata
from ._errors import Error, from_rpc
from ._requests import set_timeout, takes_timeout
from ._retry import Attempts

#: Seconds between the deadline that the server keeps, whose status has details, and gRPC's own behind it.
GRACE = 1.0
#: Seconds between two tries to watch a server's health.
WATCH_PAUSE = 0.1


class Call:
    """`method` is that of a stub, of either kind of channel: what starting it gives is either kind of gRPC's calls."""

    def __init__(self, method: Any, request: Message, connection: Connection, attempts: Attempts,
                 metadata: Metadata = ()) -> None:
        self._method, self._request, self._connection = method, request, connection
        self._attempts, self._metadata = attempts, metadata
        self._server_keeps_deadline = takes_timeout(request)

    def start(self, **options: Any) -> Any:
        """The next try."""
        seconds = self._attempts.seconds_left()
        if seconds is not None and self._server_keeps_deadline:
            set_timeout(self._request, seconds)
            seconds += GRACE
        metadata = self._connection.metadata(self._metadata)
        return self._method(self._request, timeout=seconds, metadata=metadata, **options)

    def error(self, failure: grpc.RpcError) -> Error:
        error = from_rpc(failure, self._connection.target)
        error.attempts = self._attempts.number
        return error

    def next_wait(self, failure: grpc.RpcError) -> float:
        """Seconds until the next try. Raises the Error that the failure is where there is none."""
        return self._attempts.next_wait(self.error(failure))

    def raise_unless_retryable(self, failure: grpc.RpcError) -> None:
        error = self.error(failure)
        if not error.is_retryable:
            raise error
