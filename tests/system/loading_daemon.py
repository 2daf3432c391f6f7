"""A daemon that loads its model for as long as a test likes."""
import contextlib
import os
import pathlib
import pty
import re
import shutil
import socket
import subprocess
import tempfile
import termios
import threading
import urllib.request

import daemon
from daemon import BIN, MODEL, PATIENCE_SECONDS, Daemon, wait_until


def free_address():
    """On a loopback address of this process's own: no other process takes the port meanwhile."""
    host = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
    with socket.create_server((host, 0)) as server:
        return f"{host}:{server.getsockname()[1]}"


def loaded_bytes(address):
    """(loaded, all) of the weights, as the metrics tell; None before they do."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_SECONDS) as page:
            text = page.read().decode()
    except OSError:
        return None
    counts = dict(re.findall(r'^latentd_model_load_bytes{state="(\w+)"} (.*)$', text, re.M))
    loaded, pending = float(counts["loaded"]), float(counts["pending"])
    return (loaded, loaded + pending) if loaded + pending > 0 else None


class Terminal:
    """A terminal whose output is stopped, as Ctrl-S stops it: who writes to it waits until `resume`."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        termios.tcflow(self.slave, termios.TCOOFF)
        self.output = b""
        self.reader = threading.Thread(target=self.read)

    def resume(self):
        self.reader.start()
        termios.tcflow(self.slave, termios.TCOON)

    def read(self):
        with contextlib.suppress(OSError):  # EIO: no process has it open for writing any more
            while chunk := os.read(self.master, 65536):
                self.output += chunk

    def close(self):
        """All that was written; who wrote must be gone."""
        os.close(self.slave)
        if self.reader.ident is not None:
            self.reader.join()
        os.close(self.master)
        return self.output.decode().replace("\r\n", "\n")


class LoadingDaemon(Daemon):
    """Its standard error is a stopped terminal: it waits with its first line of progress, until `resume`. Use as a
    context; `end` says how it went."""

    def __init__(self, *flags, model=MODEL, under=(), expected_code=0):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        self.port_file = self.folder / "ports.json"
        self.terminal = Terminal()
        addresses = {name: free_address() for name in ("grpc", "metrics", "admin")}
        self.process = subprocess.Popen(
            [*under, BIN / "latentd", "--model", model, "--threads", "2", "--port-file", self.port_file,
             "--listen", addresses["grpc"], "--metrics-listen", addresses["metrics"],
             "--admin-listen", addresses["admin"], *flags], stderr=self.terminal.slave, stdin=subprocess.DEVNULL)
        self.output, self.expected_code = None, expected_code
        self.connect(addresses)
        wait_until(self.is_loading, "the metrics say how much is to be loaded")

    def is_loading(self):
        if self.process.poll() is not None:
            raise AssertionError(f"exit code {self.process.returncode} while it should load\n{self.end()}")
        with contextlib.suppress(OSError):
            return self.metrics().get('latentd_model_load_bytes{state="pending"}', 0) > 0

    def resume(self):
        self.terminal.resume()
        wait_until(self.port_file.exists, "the daemon serves")

    def end(self):
        """Waits for the exit; the terminal's output from then on."""
        code = self.process.wait(daemon.PATIENCE_SECONDS)
        if self.output is None:
            self.output = self.terminal.close()
        return code

    def __exit__(self, kind, value, trace):
        self.disconnect()
        if self.process.poll() is None:
            self.process.terminate()
        code = self.end()
        shutil.rmtree(self.folder)
        assert kind is not None or code == self.expected_code, f"exit code {code}\n{self.output}"
