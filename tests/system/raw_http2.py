"""A client that speaks HTTP/2 by hand, to behave as no gRPC library would: tiny windows, single bytes, sudden ends."""
import socket
import struct
import threading

import daemon

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
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


def framed(message, compressed=0):
    """A message as gRPC puts it on the stream."""
    return bytes([compressed]) + struct.pack(">I", len(message)) + message


class RawClient:
    """One connection whose streams grant `window` bytes each and never more."""

    def __init__(self, address, window=65535, receive_buffer=4096):
        host, port = address.rsplit(":", 1)
        is_unix = host == "unix"
        self.socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(daemon.PATIENCE_SECONDS)
        self.socket.connect(port if is_unix else (host, int(port)))
        self.address = address
        self.socket.sendall(PREFACE + frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))
        self.read_until(SETTINGS)
        self.socket.sendall(frame(SETTINGS, ACK))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, method, message, stream=1):
        self.begin(method, stream)
        self.socket.sendall(frame(DATA, END_STREAM, stream, framed(message.SerializeToString())))

    def begin(self, method, stream=1, encoding=None, timeout=None):
        """The headers of a call, whose message follows or not."""
        extra = header("grpc-encoding", encoding) if encoding else b""
        extra += header("grpc-timeout", timeout) if timeout else b""
        path = f"/latentd.v1.Generation/{method}"
        self.socket.sendall(frame(HEADERS, END_HEADERS, stream, request_headers(path, self.address) + extra))

    def send_body(self, body, patience=daemon.PATIENCE_SECONDS, end=END_STREAM):
        """Bytes of the first stream's message as fast as the daemon's windows allow; the number that it took."""
        self.socket.settimeout(patience)
        windows, sent = {0: 65535, 1: 65535}, 0
        try:
            while sent < len(body):
                size = min(windows[0], windows[1], 16384, len(body) - sent)
                if size > 0:
                    flags = end if sent + size == len(body) else 0
                    self.socket.sendall(frame(DATA, flags, 1, body[sent:sent + size]))
                    sent += size
                    windows = {stream: window - size for stream, window in windows.items()}
                    continue
                kind, _, stream, payload = self.read_whole_frame()
                if kind == WINDOW_UPDATE:
                    windows[stream] += int.from_bytes(payload, "big")
                elif kind in (HEADERS, RST_STREAM):
                    break
        except OSError:
            pass  # the daemon stopped taking it
        return sent

    def read_exactly(self, num_bytes):
        parts = []
        while num_bytes > 0:
            part = self.socket.recv(num_bytes)
            if not part:
                raise ConnectionError("the daemon closed the connection")
            parts.append(part)
            num_bytes -= len(part)
        return b"".join(parts)

    def read_whole_frame(self):
        """Kind, flags, stream and payload of the next frame; pings are answered as any client would."""
        head = self.read_exactly(9)
        kind, flags = head[3], head[4]
        payload = self.read_exactly(int.from_bytes(head[:3], "big"))
        if kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, payload=payload))
        return kind, flags, int.from_bytes(head[5:], "big"), payload

    def read_frame(self):
        """Its kind, flags and payload."""
        kind, flags, _, payload = self.read_whole_frame()
        return kind, flags, payload

    def read_until(self, kind):
        while True:
            found, flags, payload = self.read_frame()
            if found == kind:
                return flags, payload

    def read_until_end(self):
        """The trailers of the stream that ends next."""
        while True:
            kind, flags, payload = self.read_frame()
            if kind == HEADERS and flags & END_STREAM:
                return payload

    def stand_still(self, seconds):
        """Reads nothing for so long: what a client does that is stopped, or has nothing to say."""
        threading.Event().wait(seconds)

    def reset_connection(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
