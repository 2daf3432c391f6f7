#!/usr/bin/env python3
"""Writes PTX modules that execute every row of the opcode table, and the list of their cases.

usage: opcode_cases.py DIRECTORY      writes DIRECTORY/NAME.ptx and DIRECTORY/cases.txt

A case is a line: kernel, index of its result, opcode, type of the result, types of the sources, constants. A row that
no case executes is an error.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "translator"))

import atomic_cases  # noqa: E402
import memory_cases  # noqa: E402
import thread_cases  # noqa: E402
import value_cases  # noqa: E402
from opcodes import table  # noqa: E402


def main(directory):
    rows, cases = table(), []
    for part in (value_cases, memory_cases, atomic_cases, thread_cases):
        for name, text, lines in part.modules(rows):
            (directory / f"{name}.ptx").write_text(text)
            cases += lines
    covered = {line.split()[2] for line in cases}
    missing = [name for name, row in rows.items() if row.form != "refused" and name not in covered]
    unknown = covered - rows.keys()
    for name in missing:
        print(f"{name}: a row of the opcode table without a test", file=sys.stderr)
    for name in unknown:
        print(f"{name}: a test without a row of the opcode table", file=sys.stderr)
    (directory / "cases.txt").write_text("".join(line + "\n" for line in cases))
    return 1 if missing or unknown else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
