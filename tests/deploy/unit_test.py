"""The systemd unit: how exposed it is, what systemd thinks of it, and that the daemon works under its rules."""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
import daemon  # noqa: E402
from daemon import BIN, ROOT, request  # noqa: E402

FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "latentd.service"
CONFINED = ("/usr/bin/python3", "-B", str(pathlib.Path(__file__).resolve().parent / "confined.py"), str(UNIT))
MAX_EXPOSURE = 2.0


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def setting(name):
    return re.search(rf"^{name}=(.*)$", UNIT.read_text(), re.M)[1]


class UnitTest(unittest.TestCase):
    def test_exposure_is_at_most_2(self):
        done = run("systemd-analyze", "security", "--offline=true", f"--threshold={10 * MAX_EXPOSURE:.0f}", str(UNIT))
        self.assertEqual(done.returncode, 0, done.stdout[-200:] + done.stderr)
        print(re.search(r"Overall exposure.*", done.stdout)[0].encode("ascii", "ignore").decode())
        done = run("systemd-analyze", "security", "--offline=true", "--threshold=1", str(UNIT))
        self.assertNotEqual(done.returncode, 0, "a threshold can be passed")

    def test_systemd_knows_each_setting(self):
        """With the drop-ins, and with programs of the names that the unit starts."""
        with tempfile.TemporaryDirectory() as folder:
            for file in [UNIT, *UNIT.with_suffix(".service.d").glob("*.conf")]:
                copy = pathlib.Path(folder) / file.relative_to(FOLDER)
                copy.parent.mkdir(exist_ok=True)
                copy.write_text(file.read_text().replace("/usr/local/bin/latentd", "/bin/true")
                                .replace("/usr/local/bin/latentctl", "/bin/true"))
            done = run("systemd-analyze", "verify", "--man=no", f"{folder}/latentd.service")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            (pathlib.Path(folder) / "latentd.service").write_text(UNIT.read_text() + "Restrat=always\n")
            self.assertNotEqual(run("systemd-analyze", "verify", f"{folder}/latentd.service").stderr, "")

    def test_a_drain_has_time_to_end(self):
        drain = int(re.search(r"drain-seconds = (\d+)", (FOLDER / "latentd.toml").read_text())[1])
        self.assertGreaterEqual(int(setting("TimeoutStopSec")), drain + 10)

    def test_the_daemon_takes_the_configuration(self):
        done = run(BIN / "latentd", "--config", FOLDER / "latentd.toml", "--print-config")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"admin-listen = 'unix:/run/latentd/admin.sock' +# file")


class ConfinedTest(unittest.TestCase):
    def test_the_daemon_works_under_the_units_system_calls(self):
        with tempfile.TemporaryDirectory() as folder:
            flags = ("--config", FOLDER / "latentd.toml", "--admin-listen", f"unix:{folder}/admin.sock",
                     "--recorder-dir", folder, "--pin-threads", "on")
            with daemon.Daemon(*flags, under=CONFINED) as server:
                status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
                self.assertRegex(status, r"NoNewPrivs:\s+1")
                self.assertRegex(status, r"Seccomp:\s+2")
                confined = server.once(request()).text
                server.sum("requests_finished_total")
                tokens = server.generation.Tokenize(daemon.pb.TokenizeRequest(text="It's 4711 o'clock, Ω said. " * 200))
                health = run(*CONFINED, BIN / "latentctl", "health", "--server", server.address)
                self.assertEqual((health.returncode, health.stdout), (0, "SERVING\n"), health.stderr)
                drain = run(BIN / "latentctl", "drain", "--admin", f"unix:{folder}/admin.sock")
                self.assertEqual(drain.returncode, 0, drain.stderr)
        with daemon.Daemon() as server:
            self.assertEqual(server.once(request()).text, confined)
            self.assertEqual(server.generation.Tokenize(
                daemon.pb.TokenizeRequest(text="It's 4711 o'clock, Ω said. " * 200)).token_ids, tokens.token_ids)

    def test_the_rules_hold(self):
        """A call that the unit forbids, and memory that could be written and run."""
        for code, allowed in (("import os; os.chroot('/')", False), ("import os; os.getpid()", True),
                              ("import mmap; mmap.mmap(-1, 4096, prot=6)", False),
                              ("import mmap; mmap.mmap(-1, 4096, prot=2)", True)):
            done = run(*CONFINED, "/usr/bin/python3", "-c", code)
            self.assertEqual(done.returncode == 0, allowed, f"{code}: {done.stderr}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
