"""latentctl doctor on setups that are in order and on broken ones: each is found, named, and its remedy said."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import unittest

import daemon
from daemon import MODEL, PATIENCE_SECONDS

ALWAYS = {"clock", "huge-pages", "cgroups", "config", "cores", "descriptors", "threads", "listen", "metrics-listen",
          "text", "device", "model", "memory"}


def doctor(*flags, under=(), model=MODEL, **variables):
    """Exit code and findings, [(check, severity, found, advice)]."""
    answer = subprocess.run([*under, daemon.BIN / "latentctl", "doctor", "--json", "--model", model, *flags],
                            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS,
                            env={**os.environ, **variables})
    assert not answer.stderr, answer.stderr
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    return answer.returncode, [(line["check"], line["severity"], line["found"], line["advice"]) for line in lines]


class DoctorTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-doctor-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def finds(self, severity, check, found, advice, *flags, **options):
        code, findings = doctor(*flags, **options)
        self.assertEqual(code, int(any(finding[1] == "error" for finding in findings)), findings)
        matching = [finding for finding in findings
                    if finding[:2] == (check, severity) and found in finding[2] and advice in finding[3]]
        self.assertEqual(len(matching), 1, findings)

    def test_a_setup_in_order_has_no_error(self):
        code, findings = doctor("--recorder-dir", self.folder, "--port-file", self.folder / "ports",
                                "--admin-listen", f"unix:{self.folder}/admin")
        self.assertEqual(code, 0, findings)
        self.assertEqual(ALWAYS - {check for check, *_ in findings}, set())
        self.assertFalse([finding for finding in findings if finding[1] == "error"])
        for check in ("config", "files", "text", "model", "memory", "listen", "metrics-listen", "admin-listen"):
            self.assertTrue({"ok"} <= {severity for name, severity, *_ in findings if name == check}, check)
        self.assertEqual(list(self.folder.iterdir()), [], "it leaves nothing behind")

    def test_text_has_the_same_lines_and_a_sum(self):
        answer = subprocess.run([daemon.BIN / "latentctl", "doctor", "--model", MODEL], capture_output=True, text=True,
                                timeout=PATIENCE_SECONDS)
        lines = answer.stdout.splitlines()
        self.assertEqual((answer.returncode, answer.stderr), (0, ""))
        self.assertRegex(lines[-1], r"^0 errors, \d+ warnings?$")
        self.assertTrue(ALWAYS <= {line.split()[1] for line in lines[:-1]}, lines)

    def test_help_and_what_the_daemon_answers(self):
        helped = subprocess.run([daemon.BIN / "latentctl", "doctor", "--help"], capture_output=True, text=True,
                                timeout=PATIENCE_SECONDS)
        self.assertEqual((helped.returncode, helped.stdout.count("Usage: latentctl doctor")), (0, 1))

    def test_configuration(self):
        file = self.folder / "latentd.toml"
        file.write_text("max-rows = 0\n")
        self.finds("error", "config", f"{file}:1: max-rows: expected a whole number", "", "--config", file)
        self.finds("error", "config", "kv-blocks=2 and kv-bytes=9 both say", "leave one of them at 0",
                   "--kv-blocks", "2", "--kv-bytes", "9")
        self.finds("warning", "config", "LATENTD_MAX_ROW", "", LATENTD_MAX_ROW="4")
        file.write_text("[[tenant]]\nweight = 1\n")
        self.finds("error", "config", f"{file}:1: expected the name of a tenant", "", "--tenants", file)

    def test_files(self):
        missing = self.folder / "missing"
        self.finds("error", "files", "recorder-dir: expected a directory", "", "--recorder-dir", missing)
        self.finds("error", "files", "port-file: expected a folder that can be written", "choose another path",
                   "--port-file", missing / "ports")

    def copy_of_model(self):
        copy = self.folder / "model"
        shutil.copytree(MODEL, copy)
        return copy

    def test_model(self):
        self.finds("error", "model", "config.json", "", model=self.folder)
        copy = self.copy_of_model()
        weights = next(copy.glob("*.safetensors"))
        os.truncate(weights, weights.stat().st_size - 4096)
        self.finds("error", "model", weights.name, "", model=copy)

    def test_tokenizer_and_template(self):
        copy = self.copy_of_model()
        self.finds("error", "text", "chat-template=nothing: expected a file", "", "--chat-template", "nothing",
                   model=copy)
        self.finds("error", "text", "eos-token-ids: expected ids", "", "--eos-token-ids", "-1", model=copy)
        for name in ("tokenizer.json", "tiktoken.model"):
            (copy / name).unlink(missing_ok=True)
        self.finds("warning", "text", "expected tokenizer.json or tiktoken.model", "only token ids are served",
                   model=copy)

    def test_memory(self):
        self.finds("error", "memory", "of cache for", "lower --kv-blocks", "--kv-bytes", str(1 << 39))
        self.finds("error", "memory", "cache: expected 2 to", "change --kv-blocks", "--kv-blocks", "1")
        self.finds("warning", "memory", "is more than the 64 tokens of the cache", "raise kv-blocks",
                   "--kv-blocks", "2", "--max-context-tokens", "2000")

    def test_device_and_cores(self):
        self.finds("error", "device", "device=cuda:7", "", "--device", "cuda:7")
        self.finds("warning", "cores", "512 compute threads", "--threads=", "--threads", "512", "--max-rows", "1")
        self.finds("error", "cores", "pin-threads", "", "--pin-threads", "900")

    def test_descriptors(self):
        under = ("sh", "-c", 'ulimit -n 40 && exec "$0" "$@"')
        self.finds("error", "descriptors", "expected a limit of at least 64 descriptors, found 40", "raise ulimit -n",
                   under=under)
        self.finds("warning", "descriptors", "max-connections: 1048576", "raise ulimit -n",
                   "--max-connections", "1048576")

    def test_port_of_another_process(self):
        with socket.create_server(("127.0.0.1", 0)) as held:
            address = f"127.0.0.1:{held.getsockname()[1]}"
            self.finds("error", "listen", f"{address} is in use by 'python3' (pid {os.getpid()})",
                       "choose another address with --listen", "--listen", address)

    def test_port_of_a_daemon(self):
        with daemon.Daemon() as server:
            self.finds("warning", "metrics-listen",
                       f"{server.metrics_address} is in use by 'latentd' (pid {server.process.pid})", "stop it first",
                       "--metrics-listen", server.metrics_address)
            self.assertEqual(server.health(), 1)

    def test_unix_sockets(self):
        path = self.folder / "socket"
        with socket.socket(socket.AF_UNIX) as held:
            held.bind(str(path))
            held.listen()
            self.finds("error", "listen", f"in use by 'python3' (pid {os.getpid()})", "", "--listen", f"unix:{path}")
        self.finds("ok", "listen", "is free", "", "--listen", f"unix:{path}")  # its process is gone
        self.assertTrue(path.is_socket(), "it is only looked at")
        path.unlink()
        path.write_text("")
        self.finds("error", "listen", "a file that is no socket", "choose another with --listen",
                   "--listen", f"unix:{path}")
        self.finds("error", "listen", "expected a folder that can be written", "",
                   "--listen", f"unix:{self.folder}/missing/socket")


if __name__ == "__main__":
    unittest.main(verbosity=2)
