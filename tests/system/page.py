"""Runs the script of a page that latentctl load wrote, in node with the least of a document; gives what it draws."""
import json
import shutil
import subprocess

from daemon import PATIENCE_SECONDS

RUNNER = """
const page = require("fs").readFileSync(0, "utf8");
const scripts = [...page.matchAll(/<script([^>]*)>([^]*?)<\\/script>/g)];
const elements = {report: {textContent: scripts[0][2]}, page: {innerHTML: ""}};
globalThis.document = {getElementById: id => elements[id]};
new Function(scripts[1][2])();
process.stdout.write(JSON.stringify(elements.page.innerHTML));
"""


def has_node():
    return shutil.which("node") is not None


def drawn(html):
    run = subprocess.run(["node", "-e", RUNNER], input=html, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
