"""When a refused call is tried again."""
from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable

from ._errors import Error


@dataclasses.dataclass(frozen=True)
class Retry:
    """How often, and how long, to wait for room. Tried again is only what brought no output yet, and only where the
    server asks for it (RetryInfo, grpc-retry-pushback-ms: then after the time it names) or could not be reached (then
    after a random time below a bound that doubles). A wait that would pass the call's deadline is not begun.

    Retry(max_attempts=1) never tries again.
    """

    #: Tries in all.
    max_attempts: int = 5
    #: Seconds. A server that asks for more is not waited for.
    max_wait: float = 60.0
    #: Seconds: bound of the first wait for a server that can't be reached, and of any such wait.
    initial_backoff: float = 0.2
    max_backoff: float = 5.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"expected max_attempts of at least 1, found {self.max_attempts}")


class Attempts:
    """The tries of one call, against its deadline. One thread at a time."""

    def __init__(self, retry: Retry, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError(f"expected a timeout above 0 seconds, found {timeout}")
        self._retry = retry
        self._clock = clock
        self._deadline = None if timeout is None else clock() + timeout
        #: Which try runs, from 1.
        self.number = 1

    def seconds_left(self) -> float | None:
        """For the try that begins now. None: no deadline."""
        return None if self._deadline is None else max(self._deadline - self._clock(), 0.001)

    def next_wait(self, error: Error) -> float:
        """Seconds to wait before the next try. Raises `error` where there is none."""
        if not error.is_retryable or self.number >= self._retry.max_attempts:
            raise error
        delay = self._backoff() if error.retry_after is None else error.retry_after
        is_too_late = self._deadline is not None and self._clock() + delay >= self._deadline
        if delay > self._retry.max_wait or is_too_late:
            raise error
        self.number += 1
        return delay

    def _backoff(self) -> float:
        bound = min(self._retry.max_backoff, self._retry.initial_backoff * 2.0 ** (self.number - 1))
        return random.uniform(0, bound)
