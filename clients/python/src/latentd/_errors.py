"""Failures as exceptions, one class for each thing that a caller can do about it."""
from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

import grpc
from google.rpc import error_details_pb2, status_pb2

Code = grpc.StatusCode


@dataclasses.dataclass(frozen=True)
class FieldViolation:
    """A field of the request that the server refused, and why."""

    name: str
    description: str


class Error(Exception):
    """A call that failed. The message says what was expected, what was found and what to do."""

    #: What to do about any error of this class.
    advice: ClassVar[str] = "see the message"

    def __init__(self, code: grpc.StatusCode, message: str, status: status_pb2.Status | None = None) -> None:
        self.code = code
        self.message = message
        #: The server's own status with all its google.rpc details. None: the server did not answer; gRPC says this.
        self.status = status
        #: The cause for programs, from docs/api.md: "QUEUE_FULL", "INVALID_FIELD", … Empty where no server named one.
        self.reason = ""
        #: What belongs to the reason, for example {"tokens_delivered": "12"}.
        self.details: dict[str, str] = {}
        #: The fields that are wrong, all of them.
        self.fields: tuple[FieldViolation, ...] = ()
        #: Seconds after which the server expects to have room. None: it did not ask for another try.
        self.retry_after: float | None = None
        #: Whether the same call may succeed later: the server asked for another try, or could not be reached.
        self.is_retryable = False
        #: How often the call was tried.
        self.attempts = 1
        for detail in status.details if status is not None else ():
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                self.reason, self.details = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):
                self.fields = tuple(FieldViolation(violation.field, violation.description)
                                    for violation in bad.field_violations)
        super().__init__(f"{code.name}{f' ({self.reason})' if self.reason else ''}: {message}")


class InvalidRequest(Error):
    """The request can't be served as it is: INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION,
    UNIMPLEMENTED."""

    advice = "change the request: `fields` and the message name what is wrong; sent again it will be refused again"


class Unauthorized(Error):
    """No credential, a wrong one, or one without this right: UNAUTHENTICATED, PERMISSION_DENIED."""

    advice = "check the token or the client certificate, and which rights the server gives it"


class Overloaded(Error):
    """No room now, but later: RESOURCE_EXHAUSTED with QUEUE_FULL, QUEUE_TOKENS, TENANT_QUOTA, SLO_UNATTAINABLE, …"""

    advice = "try again after `retry_after` seconds, or at another server"


class LimitExceeded(Error):
    """A limit that time does not lift: RESOURCE_EXHAUSTED with SLOW_CONSUMER or MESSAGE_TOO_LARGE."""

    advice = "read faster (SLOW_CONSUMER) or send less at once (MESSAGE_TOO_LARGE)"


class Unavailable(Error):
    """No server, or one that loads its model or shuts down: UNAVAILABLE."""

    advice = "check the address, wait with wait_until_serving(), or ask another server"


class DeadlineExceeded(Error):
    """The time was over: DEADLINE_EXCEEDED. `reason` says in which phase; the stream's `so_far` has what came."""

    advice = "allow more time with timeout=, or ask for fewer tokens with max_tokens="


class Cancelled(Error):
    """This client cancelled the call (CANCELLED), or an operator ended it (ABORTED)."""

    advice = "nothing to do if this client cancelled it; send it again after ADMIN_ABORT"


class ServerFault(Error):
    """The server failed: INTERNAL, DATA_LOSS, or an answer that broke the protocol."""

    advice = "report it with the server's log; the same request may fail again"


_CLASSES: dict[grpc.StatusCode, type[Error]] = {
    Code.INVALID_ARGUMENT: InvalidRequest, Code.NOT_FOUND: InvalidRequest, Code.ALREADY_EXISTS: InvalidRequest,
    Code.FAILED_PRECONDITION: InvalidRequest, Code.OUT_OF_RANGE: InvalidRequest, Code.UNIMPLEMENTED: InvalidRequest,
    Code.UNAUTHENTICATED: Unauthorized, Code.PERMISSION_DENIED: Unauthorized,
    Code.RESOURCE_EXHAUSTED: LimitExceeded, Code.UNAVAILABLE: Unavailable,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded, Code.CANCELLED: Cancelled, Code.ABORTED: Cancelled,
}

# What gRPC says without a server behind it needs an end that says what to do.
_BARE = {
    Code.UNAVAILABLE: "expected a server at {target}, found none ({text}); check the address, that latentd runs there, "
                      "and that both or neither use TLS",
    Code.DEADLINE_EXCEEDED: "expected the end of the answer in time, found the deadline passed ({text}); allow more "
                            "time with timeout= or ask for fewer tokens",
    Code.CANCELLED: "this client cancelled the call",
    Code.UNIMPLEMENTED: "expected latentd.v1 at {target}, found a server without it ({text}); check the address and "
                        "the server's version",
}


def _asked_delay(status: status_pb2.Status | None, pushback: str | None) -> float | None:
    """Seconds that the server asks to wait. A push-back that is no number, or a negative one, forbids another try."""
    if pushback is not None:
        return int(pushback) / 1000 if pushback.isdecimal() else None
    for detail in status.details if status is not None else ():
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
    return None


def from_rpc(failure: grpc.RpcError, target: str) -> Error:
    """The exception for a failed RPC, of either kind of gRPC's."""
    call = cast(Any, failure)  # the types of gRPC know less than its exceptions have
    code, text, status, pushback = call.code(), call.details() or "", None, None
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
        elif key == "grpc-retry-pushback-ms":
            pushback = value if isinstance(value, str) else value.decode()
    delay = _asked_delay(status, pushback)
    if status is None and code in _BARE:
        text = _BARE[code].format(target=target, text=text)
    lifts = delay is not None or pushback is not None
    kind = Overloaded if code == Code.RESOURCE_EXHAUSTED and lifts else _CLASSES.get(code, ServerFault)
    error = kind(code, text, status)
    error.retry_after = delay
    is_unreached = code == Code.UNAVAILABLE and status is None and pushback is None
    error.__suppress_context__ = True  # gRPC's exception says no more
    error.is_retryable = delay is not None or is_unreached
    return error


def cancelled_here() -> Cancelled:
    return Cancelled(Code.CANCELLED, _BARE[Code.CANCELLED])


def cut_short() -> ServerFault:
    return ServerFault(Code.INTERNAL, "expected a stream to end with Completed, found OK before it; something between "
                                      "client and server cut it")
