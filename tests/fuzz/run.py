#!/usr/bin/env python3
"""Fuzzes for a time: every libFuzzer program of the preset asan-ubsan, one per processor at once, from the corpora.

Prints executions and coverage for each; exits 1 where a law is broken, memory leaks, or an input takes too long or too
much memory, keeps that input and says how to run it again.

usage: tests/fuzz/run.py [--seconds N] [--seed N] [TARGET...]
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "build/asan-ubsan/bin"
FINDS = ROOT / "build/asan-ubsan/finds"
# The longest input that is tried: as long as what is interesting about a target's files needs.
MAX_BYTES = {"safetensors": 2048, "config": 4096, "tokenizer_json": 4096, "tiktoken": 2048, "template": 2048,
             "detokenizer": 512, "encode": 512}
MAX_MEGABYTES = 1024  # of the process, AddressSanitizer's own included
MAX_ALLOCATION_MEGABYTES = 256
MAX_INPUT_SECONDS = 25  # under sanitizers; a pattern that backtracks up to its limit takes a few


def command(name, options, inputs):
    return [str(PROGRAMS / f"fuzz_{name}"), f"-max_len={MAX_BYTES[name]}", f"-rss_limit_mb={MAX_MEGABYTES}",
            f"-malloc_limit_mb={MAX_ALLOCATION_MEGABYTES}", f"-timeout={MAX_INPUT_SECONDS}", *options,
            *(str(path) for path in inputs)]


def fuzz(name, seconds, seed):
    """Returns a line about the run and what went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="latentd-fuzz-") as scratch:
        new_inputs = pathlib.Path(scratch) / "new"
        new_inputs.mkdir()
        log = pathlib.Path(scratch) / "log"
        options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={FINDS}/{name}-",
                   "-detect_leaks=1", "-print_final_stats=1"]
        words = command(name, options, [new_inputs, ROOT / "tests/fuzz/corpus" / name])
        with log.open("wb") as out:
            code = subprocess.run(words, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                                  env={**os.environ, "TMPDIR": scratch}).returncode
        text = log.read_text(errors="replace")
    last = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", text)
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    memory = re.search(r"stat::peak_rss_mb:\s*(\d+)", text)
    num_runs = int(runs[1]) if runs else 0
    line = (f"{name:<15} {num_runs:>10,} runs {num_runs // seconds:>7,}/s"
            + (f", {last[-1][0]} edges, {last[-1][1]} features, {last[-1][2]} inputs" if last else "")
            + (f", {memory[1]} MB" if memory else ""))
    if code == 0 and num_runs > 0:
        return line, None
    kept = re.search(r"Test unit written to (\S+)", text)
    again = f"\nrun it again: {' '.join(command(name, [], [kept[1]]))}" if kept else ""
    return line, f"{name}: exit code {code}\n{text[-6000:]}{again}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big") + 1)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in MAX_BYTES]
    if unknown or arguments.seconds < 1:
        sys.exit(f"run.py: expected at least a second and some of {', '.join(MAX_BYTES)}, found {' '.join(unknown)}")
    shutil.rmtree(FINDS, ignore_errors=True)
    FINDS.mkdir(parents=True)
    print(f"seed {arguments.seed}", flush=True)
    failures = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(fuzz, name, arguments.seconds, arguments.seed) for name in arguments.targets or MAX_BYTES]
        for run in runs:
            line, failure = run.result()
            print(line, flush=True)
            failures += [failure] if failure else []
    print("\n\n".join(failures) if failures else "fuzz: nothing found")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
