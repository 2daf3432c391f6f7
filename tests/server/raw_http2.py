"""A client that speaks HTTP/2 by hand, to behave as no gRPC library would: tiny windows, single bytes, sudden ends."""
import socket
import struct

import daemon

DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name, value):
    """HPACK: a literal without indexing, both strings plain."""
    return b"".join((b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()))


def request_headers(path, authority):
    return b"".join(header(name, value) for name, value in (
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority), ("te", "trailers"),
        ("content-type", "application/grpc")))


class RawClient:
    """One connection with one stream, which grants `window` bytes and never more."""

    def __init__(self, address, window=65535, receive_buffer=4096):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(daemon.PATIENCE_SECONDS)
        self.socket.connect((host, int(port)))
        self.address = address
        self.socket.sendall(PREFACE + frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))
        self.read_until(SETTINGS)
        self.socket.sendall(frame(SETTINGS, ACK))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, method, message):
        body = message.SerializeToString()
        path = f"/latentd.v1.Generation/{method}"
        self.socket.sendall(frame(HEADERS, END_HEADERS, 1, request_headers(path, self.address)) +
                            frame(DATA, END_STREAM, 1, b"\0" + struct.pack(">I", len(body)) + body))

    def read_exactly(self, num_bytes):
        parts = []
        while num_bytes > 0:
            part = self.socket.recv(num_bytes)
            if not part:
                raise ConnectionError("the daemon closed the connection")
            parts.append(part)
            num_bytes -= len(part)
        return b"".join(parts)

    def read_frame(self):
        """Kind, flags and payload of the next frame; pings are answered as any client would."""
        head = self.read_exactly(9)
        kind, flags = head[3], head[4]
        payload = self.read_exactly(int.from_bytes(head[:3], "big"))
        if kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, payload=payload))
        return kind, flags, payload

    def read_until(self, kind):
        while True:
            found, flags, payload = self.read_frame()
            if found == kind:
                return flags, payload

    def reset_connection(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
