"""What README and docs/ claim in tables and lists, as values to compare with what the daemon says of itself."""
import re

import daemon


def _text(page):
    return (daemon.ROOT / page).read_text()


def _table(page, head):
    """The rows below the table head `head`, each a list of its cells."""
    lines = _text(page).splitlines()
    rows = []
    for line in lines[lines.index(head) + 2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    assert rows, f"{page}: nothing below {head}"
    return rows


def _names(cell):
    return re.findall(r"`([^`]+)`", cell)


def by_hand():
    """The commands that are shown under "By hand"."""
    return _text("README.md").split("By hand, after `make build`:")[1].split("```")[1]


def knobs():
    """{name: the cell of its default}, where a row of several knobs gives a default for each."""
    defaults = {}
    for names, default, *_ in _table("docs/operating.md", "| knob | default | |"):
        of_each = default.split(", ") if "," in names else [default]
        for name, cell in zip(_names(names), of_each, strict=True):
            assert name not in defaults, f"docs/operating.md: two rows for {name}"
            defaults[name] = cell
    return defaults


def statuses():
    """Every (code, reason) of the table of statuses."""
    return [(code, reason) for code, reasons, *_ in _table("docs/api.md", "| code | reason | when | details |")
            for reason in reasons.split(", ")]


def unimplemented():
    """The fields that docs/api.md says are refused with UNIMPLEMENTED."""
    listed = re.search(r"^- Fields of a request that are refused by name: ((?:.*\n)(?:  .*\n)*)",
                       _text("docs/api.md"), re.M)
    assert listed, "docs/api.md: no list of the fields that are refused by name"
    return set(_names(listed[1]))
