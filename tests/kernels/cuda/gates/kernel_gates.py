#!/usr/bin/env python3
"""Holds the compiled CUDA kernels to kernels/cuda/expected.toml: prints each violation, exits 1 if there is one.

usage: kernel_gates.py --build DIR [--write] [--kernels DIR] [--nvcc PATH]
  --build    where each X.cu left its X.cubin and X.ptxas.txt
  --write    writes EXPECTED.md; without it, one that differs from what would be written is a violation
  --kernels  the folder of X.cu, expected.toml and EXPECTED.md (kernels/cuda of this tree)
"""
import argparse
import dataclasses
import difflib
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile

import cubin
import occupancy
import opcodes
import ptxas
import report
from expectations import Expectations

ROOT = pathlib.Path(__file__).resolve().parents[4]
DOUBLE_LABELS = {"DADD", "DMUL", "DFMA", "DSETP", "F2F.F64", "I2F.F64", "F2I.F64"}
LOCAL_LABELS = {"LDL", "STL"}


@dataclasses.dataclass(frozen=True)
class CompiledKernel:
    source: str
    function: ptxas.FunctionUse
    census: dict
    num_instructions: int
    max_threads: int | None

    def block_use(self, dynamic_shared_bytes):
        return occupancy.BlockUse(threads=self.max_threads or occupancy.MAX_BLOCK_THREADS,
                                  registers=self.function.registers or 0,
                                  shared_bytes=self.function.shared_bytes + int(dynamic_shared_bytes))


def source_violations(source, functions, complaints):
    """What ptxas says of a source, functions that were not inlined included."""
    for complaint in complaints:
        yield f"{source}: {complaint}"
    for function in functions:
        name = cubin.short_names([function.symbol])[function.symbol]
        for count, what in ((function.stack_bytes, "of stack frame"), (function.spill_store_bytes, "of spill stores"),
                            (function.spill_load_bytes, "of spill loads")):
            if count is None:
                yield f"{source}: {name}: ptxas says nothing {what}; compile with -Xptxas -v"
            elif count > 0:
                yield f"{source}: {name}: {count} bytes {what}, expected none"


def read_source(path, build, known_opcodes):
    """({name as compiled: CompiledKernel}, [violation]) of one .cu."""
    listing, binary = build / f"{path.stem}.ptxas.txt", build / f"{path.stem}.cubin"
    if missing := [file.name for file in (listing, binary) if not file.exists()]:
        return {}, [f"{path.name}: {', '.join(missing)} not in the build; build the kernels first"]
    functions, complaints = ptxas.parse(listing.read_text())
    violations = list(source_violations(path.name, functions, complaints))
    uses = {function.symbol: function for function in functions if function.is_kernel}
    codes = cubin.read_kernels(binary)
    for symbol in sorted(set(uses) ^ set(codes)):
        violations.append(f"{path.name}: {symbol} is not in both {listing.name} and {binary.name}; build anew")
    names = cubin.short_names(codes)
    kernels = {names[symbol]: CompiledKernel(path.name, uses[symbol], known_opcodes.census(code),
                                             len(code.instructions), code.max_threads)
               for symbol, code in codes.items() if symbol in uses}
    return kernels, violations


def opcode_violations(kernel, required, forbidden, known_opcodes):
    for label in [*required, *forbidden]:
        if not known_opcodes.knows(label):
            yield f"{label} is no opcode that the probes teach"
    for label in required:
        if kernel.census.get(label, 0) == 0:
            yield f"no {label}, expected some"
    for label in sorted(LOCAL_LABELS | DOUBLE_LABELS | set(forbidden)):
        if count := kernel.census.get(label, 0):
            yield f"{count} {label}, expected none"


def kernel_violations(name, kernel, expectations, known_opcodes):
    entry = expectations.kernels[expectations.entry_names()[name]]
    if kernel.source != entry["source"]:
        yield f"is in {kernel.source}, expected {entry['source']}"
    if kernel.max_threads != entry["threads"]:
        yield f"launch bounds of {kernel.max_threads} threads, expected {entry['threads']}"
    for key in ("dynamic_shared", "most_dynamic_shared"):
        use = kernel.block_use(expectations.shared_bytes(name, key))
        if use.shared_bytes > occupancy.MAX_BLOCK_SHARED_BYTES:
            yield f"{use.shared_bytes} bytes of shared memory, at most {occupancy.MAX_BLOCK_SHARED_BYTES}"
            break
    if use.block_registers > occupancy.REGISTERS:
        yield (f"{use.registers} registers for each of {use.threads} threads take {use.block_registers}, at most "
               f"{occupancy.REGISTERS}")
    yield from opcode_violations(kernel, *expectations.opcodes(name), known_opcodes)


def read_build(folder, build, expectations, known_opcodes):
    """({name: CompiledKernel}, [violation]) of all sources."""
    kernels, violations = {}, []
    for path in sorted(folder.glob("*.cu")):
        compiled, found = read_source(path, build, known_opcodes)
        compiled = {expectations.source_name(name): kernel for name, kernel in compiled.items()}
        violations += found
        violations += [f"{path.name}: {name} is also in {kernels[name].source}; give it a name of its own"
                       for name in sorted(set(compiled) & set(kernels))]
        kernels |= compiled
    entries = expectations.entry_names()
    for name in sorted(kernels):
        if name not in entries:
            violations.append(f"{kernels[name].source}: {name} has no entry in expected.toml")
            continue
        violations += [f"{kernels[name].source}: {name}: {violation}"
                       for violation in kernel_violations(name, kernels[name], expectations, known_opcodes)]
    # An entry whose source left nothing to read is not missed again.
    unread = {path.name for path in folder.glob("*.cu")} - {kernel.source for kernel in kernels.values()}
    violations += [f"expected.toml: {name} is in no cubin" for name in sorted(set(entries) - set(kernels))
                   if expectations.kernels[entries[name]]["source"] not in unread]
    return kernels, violations


def first_difference(old, new):
    """One line, for a file on disk that is not what would be written."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return next(itertools.islice(lines, 3, None), "only in line ends")


def compare_or_write(path, text, write):
    if write:
        path.write_text(text)
        return []
    if not path.exists():
        return [f"{path.name} is missing; run kernel_gates.py with --write"]
    if path.read_text() != text:
        return [f"{path.name} is out of date, first at: {first_difference(path.read_text(), text)}; run "
                "kernel_gates.py with --write"]
    return []


def compiler_name(nvcc):
    output = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"release [\d.]+, V([\d.]+)", output)
    return f"nvcc {match[1]}" if match else "an unknown nvcc"


def check(folder, build, nvcc, write):
    """All violations; writes EXPECTED.md only where there are none."""
    expectations = Expectations(folder / "expected.toml")
    with tempfile.TemporaryDirectory() as scratch:
        known_opcodes = opcodes.learn(nvcc, scratch)
    kernels, violations = read_build(folder, build, expectations, known_opcodes)
    if violations:
        return violations
    text = report.expected_text(expectations, kernels, compiler_name(nvcc))
    return compare_or_write(folder / "EXPECTED.md", text, write)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--kernels", type=pathlib.Path, default=ROOT / "kernels/cuda")
    parser.add_argument("--nvcc", default=opcodes.default_nvcc())
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    violations = check(arguments.kernels, arguments.build, arguments.nvcc, arguments.write)
    print("\n".join(violations) if violations else "kernel gates: no violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
