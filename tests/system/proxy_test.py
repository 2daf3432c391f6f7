"""The command-line clients and proxies of the environment: what is near is dialled, whatever the variables say."""
import os
import socket
import subprocess
import tempfile
import threading
import unittest

import daemon

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "GRPC_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
FAR = "192.0.2.1:50051"  # an address reserved for examples


class Proxy:
    """Takes one connection after the other, keeps what was asked for and refuses it."""

    def __enter__(self):
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection:
                line = connection.makefile("rb").readline().decode()
                if not line:
                    return
                self.asked.append(line.split()[1])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def __exit__(self, *_):
        socket.create_connection(self.listener.getsockname()).close()
        self.thread.join()
        self.listener.close()


def latentctl(*arguments, **variables):
    bare = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run([daemon.BIN / "latentctl", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=daemon.PATIENCE_SECONDS, env={**bare, **variables})


class ProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = cls.enterClassContext(daemon.Daemon("--admin-listen", f"unix:{cls.folder}/admin"))
        cls.proxy = cls.enterClassContext(Proxy())

    def setUp(self):
        self.proxy.asked.clear()

    def everywhere(self):
        return {name: self.proxy.url for name in VARIABLES}

    def assert_dials(self, *arguments):
        done = latentctl(*arguments, **self.everywhere())
        self.assertEqual((done.returncode, self.proxy.asked), (0, []), (arguments, done.stderr))

    def test_loopback_is_dialled(self):
        port = self.server.address.rpartition(":")[2]
        for address in (self.server.address, f"localhost:{port}", f"0.0.0.0:{port}"):
            self.assert_dials("health", "--server", address, "--timeout", "30")

    def test_ipv6_loopback_is_dialled(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")
        with daemon.Daemon("--listen", "[::1]:0") as server:
            self.assert_dials("health", "--server", server.address, "--timeout", "30")

    def test_unix_sockets_are_dialled_by_admins_commands_too(self):
        self.assert_dials("status", "--admin", f"unix:{self.folder}/admin")

    def test_the_load_client_dials(self):
        self.assert_dials("load", "--server", self.server.address, "--requests", "2", "--concurrency", "1")

    def test_what_is_far_goes_through_the_proxy(self):
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            self.proxy.asked.clear()
            done = latentctl("health", "--server", FAR, "--timeout", "5", **{name: self.proxy.url})
            self.assertEqual(done.returncode, 1)
            self.assertEqual(set(self.proxy.asked), {FAR}, name)

    def test_no_proxy_in_either_case_and_the_flag_keep_from_it(self):
        for arguments, variables in (([], {"no_proxy": "192.0.2.0/24"}), ([], {"NO_PROXY": "example.org, 192.0.2.1"}),
                                     ([], {"NO_PROXY": "*"}), (["--no-proxy"], {})):
            done = latentctl("health", "--server", FAR, "--timeout", "0.3", *arguments,
                             **self.everywhere(), **variables)
            self.assertEqual((done.returncode, self.proxy.asked), (1, []), (arguments, variables))


if __name__ == "__main__":
    unittest.main()
