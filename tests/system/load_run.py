"""Runs latentctl load and reads its reports."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "server"))
import daemon  # noqa: E402
from daemon import BIN, PATIENCE_SECONDS  # noqa: E402


class Load:
    """One run of latentctl load, begun; `finish` waits for its end. Use as a context."""

    def __init__(self, server, *flags, stderr=subprocess.PIPE):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentctl-load-test-"))
        self.json_file = self.folder / "report.json"
        self.html_file = self.folder / "report.html"
        self.process = subprocess.Popen(
            [BIN / "latentctl", "load", "--server", server, "--json", self.json_file, "--html", self.html_file, *flags],
            stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.folder)

    def finish(self):
        self.table, self.errors = self.process.communicate(timeout=3 * PATIENCE_SECONDS)
        self.code = self.process.returncode
        self.report = json.loads(self.json_file.read_text()) if self.json_file.exists() else None
        self.html = self.html_file.read_text() if self.html_file.exists() else None
        return self

    def outcomes(self):
        return {check["name"]: (check["verdict"], check["detail"]) for check in self.report["checks"]}


def run(server, *flags):
    with Load(server, *flags) as load:
        return load.finish()
