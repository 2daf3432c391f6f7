#!/usr/bin/env python3
"""Translates the PTX of a .cu file to C++ for the CUDA emulator.

usage: translate.py IN.ptx OUT.cc [--shadow]     --shadow: every access is checked by the runtime

Only what the opcode table names is translated. Everything else is listed, each with its .cu line, and the exit code
is 1.
"""
import pathlib
import sys

from module_writer import ModuleWriter
from opcodes import table
from ptx_text import PtxError, read_module


def main(arguments):
    is_shadow = "--shadow" in arguments
    paths = [argument for argument in arguments if not argument.startswith("--")]
    if len(paths) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        writer = ModuleWriter(read_module(pathlib.Path(paths[0]).read_text()), table(), is_shadow)
        text = writer.text()
    except PtxError as error:
        print(f"{paths[0]}: {error}", file=sys.stderr)
        return 1
    for problem in writer.problems:
        print(problem, file=sys.stderr)
    if writer.problems:
        return 1
    pathlib.Path(paths[1]).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
