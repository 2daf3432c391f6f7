"""Clients that take without asking (D7): each is cut off, and those beside it hardly notice. 8 s."""
import multiprocessing
import socket
import struct
import unittest

import daemon
from daemon import Daemon, request, wait_until
from neighbour import Neighbour
from raw_http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM,
                       SETTINGS, WINDOW_UPDATE, frame, request_headers)

ATTACKERS = 2  # as many as gRPC has threads that poll
MAX_BYTES = 200 << 20  # what one of them tries to send
MAX_GROWTH_BYTES = 128 << 20  # of its allocator, at its worst; without a guard it is 1.2 GB and more
# On a machine that has nothing else to do the longest wait is some 20 ms; without a guard it is 4 to 30 s.
MAX_WAIT_SECONDS = 2.0

OPEN = request_headers("/latentd.v1.Generation/Generate", "localhost")


def endless(first, repeated):
    yield first
    while True:
        yield repeated


def resets(body):
    """Streams that are opened, given a part of their body and reset."""
    stream = 1
    while True:
        burst = b""
        for _ in range(20):
            burst += frame(HEADERS, END_HEADERS, stream, OPEN)
            if body:
                burst += frame(DATA, 0, stream, b"\0" + struct.pack(">I", 1 << 20) + body)
            burst += frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
            stream += 2
        yield burst


def headers(size):
    """Whole requests with as many headers as a frame can hold."""
    stream, padding = 1, b"\0\1a\x7f\x80\x01" + b"x" * 255
    while True:
        block = OPEN + padding * ((size - len(OPEN)) // len(padding))
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
        stream += 2


# A header whose value is to have 200 MB, in a block that never ends.
LONG_VALUE = frame(HEADERS, 0, 1, OPEN + b"\0\1a\x7f\x81\xa0\xae\x5f")
ATTACKS = {
    "one long header in large frames": (lambda: endless(LONG_VALUE, frame(CONTINUATION, 0, 1, b"x" * 16384)),
                                        "header_block"),
    "one long header in single bytes": (lambda: endless(LONG_VALUE, frame(CONTINUATION, 0, 1, b"x") * 1000),
                                        "header_block"),
    "empty continuations": (lambda: endless(LONG_VALUE, frame(CONTINUATION, 0, 1) * 1000), "header_block"),
    "a number padded without end": (lambda: endless(frame(HEADERS, 0, 1, b"\0\x7f"),
                                                    frame(CONTINUATION, 0, 1, b"\x80" * 16384)), "header_block"),
    "large headers": (lambda: headers(16000), "header_bytes"),
    "resets": (lambda: resets(b""), "streams"),
    "resets with bodies": (lambda: resets(b"z" * 8000), "streams"),
    "pings": (lambda: endless(b"", frame(PING, payload=b"12345678") * 1000), "pings"),
    "settings": (lambda: endless(b"", frame(SETTINGS, payload=struct.pack(">HI", 4, 65535)) * 1000), "control_frames"),
    "window updates": (lambda: endless(b"", frame(WINDOW_UPDATE, payload=struct.pack(">I", 1)) * 1000),
                       "control_frames"),
    "priorities": (lambda: endless(b"", frame(PRIORITY, 0, 1, bytes(5)) * 1000), "control_frames"),
    "frames of no kind": (lambda: endless(b"", frame(0x42, 0, 1, bytes(100)) * 100), "control_frames"),
    "empty data": (lambda: endless(frame(HEADERS, END_HEADERS, 1, OPEN), frame(DATA, 0, 1) * 1000), "control_frames"),
    "a body in single bytes": (lambda: endless(frame(HEADERS, END_HEADERS, 1, OPEN), frame(DATA, 0, 1, b"x") * 1000),
                               "control_frames"),
    # gRPC or the guard, whichever sees it first
    "data of no stream": (lambda: endless(b"", frame(DATA, 0, 1, b"x" * 16384)), None),
}


def attack(address, name, outcome):
    """Sends until it is cut off, or all that it wants; in a process of its own, as fast as it can."""
    host, port = address.rsplit(":", 1)
    sent = 0
    with socket.create_connection((host, int(port))) as connection:
        try:
            connection.sendall(PREFACE + frame(SETTINGS))
            for piece in ATTACKS[name][0]():
                connection.sendall(piece)
                sent += len(piece)
                if sent > MAX_BYTES:
                    break
        except OSError:
            outcome.put("cut off")
            return
    outcome.put("sent all")


class HostileConnectionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Daemon())
        cls.server.once(request(max_tokens=4))
        cls.resident = cls.server.resident_bytes()

    def cut_off(self, reason):
        return self.server.sum("connections_cut_off_total", reason=reason)

    def test_attackers_are_cut_off_and_neighbours_served(self):
        context = multiprocessing.get_context("spawn")
        for name, (_, reason) in ATTACKS.items():
            with self.subTest(name), Neighbour(self.server, request(max_tokens=4)) as neighbour:
                before = self.cut_off(reason) if reason else 0
                outcomes = context.Queue()
                attackers = [context.Process(target=attack, args=(self.server.address, name, outcomes))
                             for _ in range(ATTACKERS)]
                for attacker in attackers:
                    attacker.start()
                self.assertEqual([outcomes.get(timeout=daemon.PATIENCE_SECONDS) for _ in attackers],
                                 ["cut off"] * ATTACKERS)
                for attacker in attackers:
                    attacker.join()
            with self.subTest(name):
                self.assertLess(neighbour.longest, MAX_WAIT_SECONDS)
                if reason:
                    self.assertGreaterEqual(self.cut_off(reason), before + ATTACKERS)
                self.assertLess(self.server.resident_bytes(), self.resident + MAX_GROWTH_BYTES)
        self.server.wait_until_idle()
        wait_until(lambda: self.server.sum("connections", listener="api") <= 1, "their connections are gone")
        self.assertRegex(self.server.log_text(), r"warning connections: cut off 127.0.0.1 for ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
