"""A well-behaved client beside an attack, which must hardly notice it."""
import threading
import time

import grpc

import daemon
from daemon import wait_until

BETWEEN_CHECKS_SECONDS = 0.02


class Neighbour:
    """The same short request over and over, and the health check, over a connection of their own. Use as a context:
    leaving it asserts that both still answer, and that every answer had the same bytes."""

    def __init__(self, server, message=None, patience_seconds=daemon.PATIENCE_SECONDS):
        """`patience_seconds` is what one request may take."""
        self.message = daemon.request() if message is None else message
        self.expected = server.once(self.message).text
        self.channel = grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
        self.generation = daemon.generation_pb2_grpc.GenerationStub(self.channel)
        self.check_health = self.channel.unary_unary("/grpc.health.v1.Health/Check", lambda m: m, lambda m: m)
        self.patience_seconds = patience_seconds
        self.seconds, self.check_seconds, self.failures = [], [], []  # of each answer, of each health check
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.repeat, args=(act,)) for act in (self.ask, self.check)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.await_answers()
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.await_answers()
        finally:
            self.stop.set()
            for thread in self.threads:
                thread.join()
            self.channel.close()
        assert kind is not None or not self.failures, self.failures
        print(f"neighbour: {len(self.seconds)} answers, longest wait {self.longest * 1e3:.0f} ms, longest health check "
              f"{max(self.check_seconds, default=0) * 1e3:.0f} ms")

    @property
    def longest(self):
        return max(self.seconds, default=0.0)

    def await_answers(self):
        """To requests that are yet to be made, too."""
        seen = len(self.seconds)
        wait_until(lambda: self.failures or len(self.seconds) > seen + 1, "the neighbour is served",
                   2 * self.patience_seconds)

    def repeat(self, act):
        """Until the end, or the first failure."""
        while not self.stop.is_set() and not self.failures:
            try:
                act()
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(repr(error))

    def ask(self):
        started = time.monotonic()
        text = daemon.Answer(self.generation.Generate(self.message, timeout=self.patience_seconds)).text
        assert text == self.expected, f"other bytes: {text}"
        self.seconds.append(time.monotonic() - started)

    def check(self):
        started = time.monotonic()
        assert self.check_health(b"", timeout=daemon.PATIENCE_SECONDS) == b"\x08\x01"
        self.check_seconds.append(time.monotonic() - started)
        self.stop.wait(BETWEEN_CHECKS_SECONDS)
