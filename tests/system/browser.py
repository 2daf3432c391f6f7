"""Pages as a person gets to see them: headless Chromium lays one out, a probe in it tells what is there and what lies
wrong, and a picture of it is kept beside the build. Pages load nothing: their figures stand in them."""
import html
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import daemon

PICTURES = daemon.BIN.parent / "pictures"
TOOL = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = unittest.skipUnless(TOOL, "SKIPPED there is no Chromium: scripts/install-packages.sh browser gets it")

LISTENER = """<script>
window.problems = [];
addEventListener("error", event => problems.push(`${event.message} in line ${event.lineno}`));
</script>"""
# What it finds is in svg's own units, of 11 pixels to a letter's height; half of one is no overlap that an eye sees.
PROBE = """<script>
{
function inside(inner, outer) {
  return inner.x >= outer.x - 1 && inner.y >= outer.y - 1 && inner.x + inner.width <= outer.x + outer.width + 1 &&
    inner.y + inner.height <= outer.y + outer.height + 1;
}
function overlap(a, b) {
  return Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x) > 1 &&
    Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) > 5;
}
function titleOf(part) { return part.closest(".card")?.querySelector("h2")?.textContent ?? "no card"; }
for (const svg of document.querySelectorAll("svg")) {
  const parts = [...svg.querySelectorAll("path, rect, circle, line, text")];
  for (const part of parts.filter(part => !inside(part.getBBox(), svg.viewBox.baseVal))) {
    problems.push(`${titleOf(svg)}: ${part.outerHTML.slice(0, 120)} leaves its plot`);
  }
  const texts = parts.filter(part => part.tagName === "text").map(part => [part.textContent, part.getBBox()]);
  texts.forEach(([text, box], index) => texts.slice(0, index).filter(other => overlap(box, other[1])).forEach(other =>
    problems.push(`${titleOf(svg)}: ${text} is written over ${other[0]}`)));
}
const wide = [...document.querySelectorAll("body *")].filter(part => !part.closest("svg, .scroll, script") &&
  part.getBoundingClientRect().right > innerWidth + 1);
wide.forEach(part =>
  problems.push(`${part.tagName} ${part.className} leaves the page: ${part.textContent.slice(0, 40)}`));
if (/\\b(NaN|undefined|Infinity)\\b|\\[object/.test(document.body.innerText)) problems.push("a figure that is none");
for (const part of document.querySelectorAll("svg *")) {
  for (const {name, value} of [...part.attributes].filter(({value}) => /NaN|undefined|Infinity/.test(value))) {
    problems.push(`${titleOf(part)}: ${name}="${value.slice(0, 60)}"`);
  }
}
const cards = [...document.querySelectorAll(".card")].filter(card => card.querySelector("h2")).map(card => ({
  title: card.querySelector("h2").textContent,
  text: card.innerText,
  legend: [...card.querySelectorAll(".legend span")].map(part => part.textContent),
  points: [...card.querySelectorAll("svg path")].map(part => part.getAttribute("d").split(/[ML]/).length - 1),
  rows: card.querySelectorAll("tr").length,
  box: (({x, y, width, height}) => ({x, y, width, height}))(card.getBoundingClientRect()),
}));
const figures = [...document.querySelectorAll(".figure")].map(part => part.innerText.split("\\n"));
document.body.dataset.found = JSON.stringify({problems, cards, figures, text: document.body.innerText});
}
</script>"""


class Page:
    """What the probe found: `problems`, `cards` by their titles, `figures` and the whole `text`."""

    def __init__(self, found):
        self.problems, self.figures, self.text = found["problems"], found["figures"], found["text"]
        self.cards = {card["title"]: card for card in found["cards"]}
        assert len(self.cards) == len(found["cards"]), "two cards have one title"


def look(text, name, width=1280, height=2400):
    """Lays out the page `text`; the picture is PICTURES/name.png."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="latentd-browser-") as folder:
        file = pathlib.Path(folder, "page.html")
        file.write_text(text.replace("<head>", f"<head>{LISTENER}", 1).replace("</body>", f"{PROBE}</body>"))
        run = subprocess.run(
            [TOOL, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             f"--user-data-dir={folder}/profile", f"--window-size={width},{height}", "--dump-dom",
             f"--screenshot={PICTURES / name}.png", file.as_uri()],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=2 * daemon.PATIENCE_SECONDS)
    found = re.search(r'data-found="([^"]*)"', run.stdout)
    assert found, f"expected the probe's findings, found none in the page; Chromium says: {run.stderr[-2000:]}"
    return Page(json.loads(html.unescape(found[1])))
