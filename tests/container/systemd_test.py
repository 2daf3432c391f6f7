"""The unit of deploy/systemd under a real systemd, which is process 1 of a container.

Run by scripts/image-test.sh, after it has built the image.
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "system"))
from daemon import ROOT, wait_until  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent / "systemd"
UNIT = ROOT / "deploy/systemd/latentd.service"
WITH_MODEL = f"latentd:{os.environ['LATENTD_VERSION']}-tiny-tales"
IMAGE = "latentd-under-systemd"
BOOT_SECONDS = 60


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert not check or done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def inside(*command, check=True):
    return run("podman", "exec", IMAGE, *command, check=check)


def state():
    return inside("systemctl", "is-active", "latentd", check=False).stdout.strip()


def shown(name):
    return inside("systemctl", "show", "--value", "--property", name, "latentd").stdout.strip()


def journal():
    return inside("journalctl", "--unit", "latentd", "--output", "cat", "--no-pager").stdout


def setUpModule():
    run("buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--layers",
        "--format", "docker", "--build-arg", f"IMAGE={WITH_MODEL}", "--tag", IMAGE,
        "--file", str(FOLDER / "Dockerfile"), str(UNIT.parent))
    # Privileged: systemd makes name spaces and control groups for the service.
    started = run("podman", "run", "--detach", "--name", IMAGE, "--privileged", "--systemd=always", "--network", "none",
                  "--cgroup-parent", os.environ["LATENTD_CGROUP"], IMAGE, check=False)
    unittest.addModuleCleanup(run, "podman", "rm", "--force", "--time", "5", IMAGE, check=False)
    try:
        assert started.returncode == 0, started.stderr
        wait_until(lambda: inside("systemctl", "is-system-running", check=False).stdout.strip() in
                   ("running", "degraded"), "systemd has booted", BOOT_SECONDS)
    except AssertionError as error:
        raise unittest.SkipTest(f"SKIPPED systemd: it can't be process 1 of a container here: {error}") from error


class SystemdTest(unittest.TestCase):
    def setUp(self):
        inside("systemctl", "reset-failed", "latentd", check=False)
        inside("systemctl", "start", "latentd")

    def test_started_means_that_it_serves(self):
        self.assertEqual(state(), "active")
        self.assertEqual(inside("latentctl", "health").stdout, "SERVING\n")
        self.assertTrue(inside("latentctl", "generate", "--max-tokens", "8", "Once upon a time").stdout)
        self.assertIn("serving", journal())
        inside("latentctl", "status", "--admin", "unix:/run/latentd/admin.sock")

    def test_the_process_has_no_rights(self):
        pid = shown("MainPID")
        status = inside("cat", f"/proc/{pid}/status").stdout
        user = int(re.search(r"^Uid:\s+(\d+)", status, re.M)[1])
        self.assertIn(user, range(61184, 65520), "a dynamic user")
        for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(re.search(rf"^{kind}:\s+(\w+)", status, re.M)[1], 16), 0, kind)
        self.assertRegex(status, r"NoNewPrivs:\s+1\n(.*\n)*Seccomp:\s+2")
        mounts = inside("cat", f"/proc/{pid}/mounts").stdout
        self.assertRegex(mounts, r"(?m)^\S+ / \S+ ro[, ]")
        self.assertEqual(shown("OOMPolicy"), "stop")

    def test_stop_drains(self):
        inside("systemctl", "stop", "latentd")
        self.assertEqual((state(), shown("Result"), shown("ExecMainStatus")), ("inactive", "success", "0"))
        self.assertRegex("\n".join(journal().splitlines()[-6:]), r"(?m) info .*\bstopped")

    def test_a_process_that_dies_is_started_again(self):
        before = int(shown("NRestarts"))
        inside("systemctl", "kill", "--signal", "KILL", "--kill-who", "main", "latentd")
        wait_until(lambda: int(shown("NRestarts")) > before and state() == "active", "it is started again")
        self.assertEqual(inside("latentctl", "health").stdout, "SERVING\n")

    def test_a_refused_start_says_why(self):
        file = "/etc/latentd/latentd.toml"
        inside("sed", "-i", "s/^drain-seconds/drian-seconds/", file)
        self.addCleanup(inside, "sed", "-i", "s/^drian-seconds/drain-seconds/", file)
        self.assertNotEqual(inside("systemctl", "restart", "latentd", check=False).returncode, 0)
        self.assertRegex(journal(), r"latentd: .*drian-seconds")


if __name__ == "__main__":
    unittest.main(verbosity=2)
