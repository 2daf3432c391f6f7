"""`pip install ./clients/python` into a venv, from the checkout, an sdist and editable; then its tests with what was
installed, and its types. Needs PyPI. 25 s."""
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

import daemon

CLIENT = daemon.ROOT / "clients/python"
PIP_SECONDS = 240
TOOLS = ("hatchling", "editables", "grpcio-tools", "mypy", "types-grpcio", "types-protobuf")
TYPED = """
import asyncio
import latentd

def stories(client: latentd.Client) -> list[str]:
    stream = client.generate([1, 2], max_tokens=4, stop="x", output=latentd.Output(logprobs=1), timeout=1.5)
    pieces: list[str] = [delta.text for delta in stream]
    reason: latentd.EndReason | None = stream.result().end_reason
    calls = client.chat([{"role": "user", "content": "Hi"}], tools=[latentd.tool("f")], tool_choice="none").result()
    return [*pieces, str(reason), *(call.name for call in calls.tool_calls)]

async def score(client: latentd.AsyncClient) -> float:
    async for delta in client.generate("Once"):
        print(delta.index)
    return (await client.score("Once", top_logprobs=1)).positions[0].logprob
"""
MISTYPED = """
import latentd
client = latentd.Client(tls=True)
client.generate("Once", temprature=1)
client.generate("Once", max_tokens="many")
client.chat("Hi", tool_choice="perhaps")
client.generate(7).result().text.nothing
"""


def listing(folder):
    return sorted(str(path) for path in folder.rglob("*"))


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="latentd-venv-")))
        cls.python = cls.folder / "venv/bin/python"
        venv = subprocess.run(["/usr/bin/python3", "-m", "venv", cls.folder / "venv"], capture_output=True, text=True)
        if venv.returncode != 0:
            raise unittest.SkipTest(f"SKIPPED there are no venvs: {venv.stdout.strip()[-200:]}")
        try:
            tools = cls.pip("install", *TOOLS)
            problem = tools.stderr.strip()[-300:] if tools.returncode != 0 else ""
        except subprocess.TimeoutExpired:
            problem = f"not done after {PIP_SECONDS} s"
        if problem:
            raise unittest.SkipTest(f"SKIPPED pip gets no packages here: {problem}")
        before = listing(CLIENT)
        installed = cls.pip("install", CLIENT)
        assert installed.returncode == 0, installed.stdout + installed.stderr
        assert listing(CLIENT) == before, "an install leaves the checkout as it was"

    @classmethod
    def pip(cls, *words):
        return subprocess.run([cls.python, "-m", "pip", "--disable-pip-version-check", "-q", *words],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PIP_SECONDS)

    def run_python(self, *words, **variables):
        bare = {name: value for name, value in os.environ.items() if name not in ("LATENTD_CLIENT", "PYTHONPATH")}
        return subprocess.run([self.python, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=PIP_SECONDS, cwd=daemon.ROOT, env={**bare, **variables})

    def test_installed_client_passes_its_tests(self):
        for test in ("tests/system/client_library_test.py", "tests/clients/python_client_test.py"):
            run = self.run_python(test)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertNotIn("Ran 0 tests", run.stderr)

    def test_sdist_builds_without_the_checkout(self):
        out = self.folder / "sdist"
        built = subprocess.run([self.python, "-m", "hatchling", "build", "-t", "sdist", "-d", out], cwd=CLIENT,
                               capture_output=True, text=True, timeout=PIP_SECONDS)
        self.assertEqual(built.returncode, 0, built.stderr)
        archive, = out.glob("*.tar.gz")
        with tarfile.open(archive) as content:
            names = {name.split("/", 1)[1] for name in content.getnames()}
        self.assertIn("proto/latentd/v1/generation.proto", names)
        self.assertFalse([name for name in names if name.endswith("_pb2.py")], "stubs are made at install")
        target = self.folder / "from-sdist"
        installed = self.pip("install", "--no-build-isolation", "--no-deps", "--target", target, archive)
        self.assertEqual(installed.returncode, 0, installed.stderr)
        run = self.run_python("-c", "import latentd; print(latentd.__file__, latentd.Output(logprobs=1))",
                              PYTHONPATH=str(target))
        self.assertIn(str(target), run.stdout, run.stderr)

    def test_editable_install_makes_its_stubs_beside_the_sources(self):
        copy = self.folder / "copy"
        shutil.copytree(daemon.ROOT / "proto", copy / "proto")
        shutil.copytree(CLIENT, copy / "clients/python", ignore=shutil.ignore_patterns("*_pb2*"))
        installed = self.pip("install", "--no-build-isolation", "--no-deps", "--ignore-installed", "--prefix",
                             self.folder / "prefix", "-e", copy / "clients/python")
        self.assertEqual(installed.returncode, 0, installed.stderr)
        sources = copy / "clients/python/src"
        run = self.run_python("-c", "import latentd; print(latentd.__file__, latentd.Output(logprobs=1))",
                              PYTHONPATH=str(sources))
        self.assertIn(str(sources), run.stdout, run.stderr)

    def mypy(self, *words):
        return self.run_python("-m", "mypy", "--config-file", CLIENT / "pyproject.toml", "--cache-dir",
                               self.folder / "mypy", *words)

    def test_types_are_whole_and_find_mistakes(self):
        own = self.mypy("-p", "latentd")
        self.assertEqual(own.returncode, 0, own.stdout + own.stderr)
        (self.folder / "typed.py").write_text(TYPED)
        user = self.mypy(self.folder / "typed.py")
        self.assertEqual(user.returncode, 0, user.stdout + user.stderr)
        (self.folder / "mistyped.py").write_text(MISTYPED)
        found = self.mypy(self.folder / "mistyped.py").stdout
        for line in range(3, 8):
            self.assertIn(f"mistyped.py:{line}: error", found)


if __name__ == "__main__":
    unittest.main(verbosity=2)
