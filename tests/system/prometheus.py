"""A real Prometheus beside the daemon. Missing tools are an error, not a reason to skip."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

import daemon
from daemon import wait_until

NOBODY = 65534


def tool(name):
    path = shutil.which(name)
    assert path, f"expected {name} on PATH, found none; scripts/install-packages.sh installs it"
    return path


def check_metrics(text):
    """promtool's complaints about a page of metrics, parse errors and lint alike; "" if there are none."""
    run = subprocess.run([tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True,
                         timeout=daemon.PATIENCE_SECONDS)
    return "" if run.returncode == 0 else f"rc {run.returncode}: {run.stdout}{run.stderr}"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Prometheus:
    """Use as a context. Scrapes `target` and evaluates the rules of `rule_files`, a pattern of paths, each second;
    ready, and the target up, once entered."""

    def __init__(self, target, rule_files=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-prometheus-"))
        config = self.folder / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                          f"rule_files: {json.dumps([str(rule_files)] if rule_files else [])}\n"
                          "scrape_configs:\n  - job_name: latentd\n"
                          f'    static_configs: [{{targets: ["{target}"]}}]\n')
        storage = self.folder / "storage"
        storage.mkdir()
        self.address = f"127.0.0.1:{free_port()}"
        command = [tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={storage}",
                   f"--web.listen-address={self.address}", "--log.level=warn"]
        drop = {}
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(storage, NOBODY, NOBODY)
            drop = dict(user=NOBODY, group=NOBODY, extra_groups=[])
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, **drop)

    def __enter__(self):
        wait_until(lambda: self.value("up") == 1 or self.process.poll() is not None, "Prometheus scrapes the daemon")
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return self

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        self.process.wait(daemon.PATIENCE_SECONDS)
        self.log.close()
        shutil.rmtree(self.folder)

    def query(self, expression, **more):
        """The series of an instant, or with `path`, start, end and step those of a range."""
        path = more.pop("path", "query")
        url = f"http://{self.address}/api/v1/{path}?" + urllib.parse.urlencode({"query": expression, **more})
        try:
            with urllib.request.urlopen(url, timeout=daemon.PATIENCE_SECONDS) as page:
                answer = json.load(page)
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it still starts
                return []
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except OSError:
            return []
        return answer["data"]["result"]

    def value(self, expression):
        """The value of the one series that the expression gives, or None."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if len(result) == 1 else None
