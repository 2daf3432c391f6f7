#!/usr/bin/env python3
"""Shows that the emulated tests find mistakes: makes each change of mutations.toml in a copy of the CUDA backend's
sources and runs the tests that should fail. A mutation that survives, is caught by other means than expected, or whose
text is not in the sources any more fails the run; so does clean code that fails a test.

usage: run.py BUILD [--only WORD …] [--write]     BUILD has op_test, the CUDA backend and its emulated kernels;
       --only runs the mutations whose names contain a word; --write rewrites MUTATIONS.md
"""
import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import sys
import tomllib

import mutated_build
from mutated_build import SCHEDULES

HERE = pathlib.Path(__file__).resolve().parent
REPORT = HERE.parent / "MUTATIONS.md"
AT_A_TIME = 2
MAX_MESSAGE = 150


def message_of(code, output):
    """The line that says what was found."""
    if code is None:
        return output
    found = re.search(r"cuda emulator: (.*)", output)
    if found:
        # Addresses and folders change from run to run.
        line = re.sub(r"\S*/kernels/cuda/", "", re.sub(r"0x[0-9a-f]+", "0x…", found[1]))
        line = re.sub(r"\(latentd::(DType|LatentFormat)\)|latentd::cuda::|\(anonymous namespace\)::", "", line)
        return re.sub(r"(\[kernel [^(]*)\(\S*(?= block|\])", r"\1", line)
    failed = re.search(r"^(\S+): Failure\n((?:(?!\S+: Failure|\[).*\n)*)", output, re.M)
    if failed:
        difference = re.sub(r"^Expected: .*(?=actual: )", "", " ".join(failed[2].replace("`", "'").split()))
        return f"wrong result: {pathlib.PurePath(failed[1]).name}: {difference}"
    stopped = re.search(r"^latentd: (.*)", output, re.M)
    return f"exit code {code}: {stopped[1] if stopped else ' '.join(output.split())[-MAX_MESSAGE:]}"


class Results:
    """Results of test runs, by the contents of everything that decides them."""

    def __init__(self, build):
        self.folder = build.sources / "results"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.common = mutated_build.digest(build.directory / "bin/op_test", HERE / "mutated_build.py")

    def get(self, key, make):
        name = hashlib.sha256(json.dumps([key, self.common]).encode()).hexdigest()
        file = self.folder / name
        if not file.exists():
            file.write_text(json.dumps(make()))
        return json.loads(file.read_text())


def run_mutation(build, results, mutation):
    """{mode: [exit code, message]}, or a line that says why there is none."""
    mutated = mutated_build.MutatedBuild(build, mutation)

    def make():
        mutated.make()
        return {mode: mutated.run_test(mode) for mode in mutation["modes"]}

    try:
        outputs = results.get(mutated.key(), make)
    except (mutated_build.Stale, mutated_build.Broken) as error:
        return str(error)
    return {mode: (code, message_of(code, output) if code != 0 else "") for mode, (code, output) in outputs.items()}


def run_clean(build, results, tests, mode):
    """The unchanged backend, without building anything."""
    kernels = [build.kernels(SCHEDULES[mode][0])]
    key = [tests, mode, build.emulator_digest, build.kernels_digest]
    code, output = results.get(
        key, lambda: mutated_build.run_test(build, {"filter": tests}, mode, build.directory / "bin", kernels))
    return None if code == 0 else f"clean code fails {tests} in mode {mode}: {message_of(code, output)}"


def problem_of(mutation, found):
    """What is wrong with a mutation's outcome, or None."""
    if isinstance(found, str):
        return found
    messages = [message for code, message in found.values() if code != 0]
    if "old" not in mutation:
        return f"clean code, compiled as mutations are, fails: {messages[0]}" if messages else None
    if not messages:
        return "survives"
    if not any(re.search(mutation["expect"], message) for message in messages):
        return f"is caught, but not by {mutation['expect']}: {messages[0]}"
    return None


def report(mutations, outcomes):
    """MUTATIONS.md"""
    lines = ["<!-- Written by mutations/run.py --write -->", "# Mistakes that the emulated tests find", "",
             "Each was made in a copy of the sources, and the tests named were run in the modes listed. A mode in",
             "brackets passes all the same: it cannot see the mistake, or did not.", "",
             "| mistake | where | tests | caught by | message |",
             "| --- | --- | --- | --- | --- |"]
    for mutation in mutations:
        found = outcomes[mutation["name"]]
        modes = ", ".join(mode if code != 0 else f"({mode}: missed)" for mode, (code, _) in found.items())
        caught = [message for code, message in found.values() if code != 0]
        message = next((m for m in caught if re.search(mutation["expect"], m)), caught[0])
        short = message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + " …"
        cells = [mutation["name"], pathlib.PurePath(mutation["file"]).name, mutation["filter"], modes, f"`{short}`"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    table = tomllib.loads((HERE / "mutations.toml").read_text())
    mutations = [m for m in table["mutation"] if not args.only or any(word in m["name"] for word in args.only)]
    build = mutated_build.Build(args.build)
    results = Results(build)
    problems, outcomes = [], {}
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        clean_tests = sorted({(m["filter"], mode) for m in mutations for mode in m["modes"]})
        clean = [pool.submit(run_clean, build, results, tests, mode) for tests, mode in clean_tests]
        for mutation in [*table["clean"], *mutations]:
            outcomes[mutation["name"]] = pool.submit(run_mutation, build, results, mutation)
        for mutation in [*table["clean"], *mutations]:
            found = outcomes[mutation["name"]] = outcomes[mutation["name"]].result()
            problem = problem_of(mutation, found)
            if problem:
                problems.append(f"{mutation['name']}: {problem}")
            said = problem or "; ".join(f"{mode}: {message or 'passes'}" for mode, (_, message) in found.items())
            print(f"{'PROBLEM' if problem else 'ok':8}{mutation['name']}: {said}", flush=True)
        problems += [problem for problem in (c.result() for c in clean) if problem]
    if args.write and not problems and not args.only:
        REPORT.write_text(report(mutations, outcomes))
    print("\n".join(problems) if problems else f"mutations: all {len(mutations)} caught, clean code passes")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
