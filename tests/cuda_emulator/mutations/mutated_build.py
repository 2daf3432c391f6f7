"""Compiles the CUDA backend with one change in a copy of its sources, by the build's own commands, and tests it."""
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

LIBRARY = "liblatentd_cuda.so"
ROOMS = ["base", "kernels"]  # the library's sources
RUN_SECONDS = 400
# As latentd_emulated_test sets them, by mode.
SCHEDULES = {
    "in-order": ("plain", "in-order", "late"),
    "reverse": ("plain", "reverse", "early"),
    "random-warp": ("plain", "random-warp", "random"),
    "random-thread": ("plain", "random-thread", "random"),
    "shadow": ("shadow", "random-block-mix", "late"),
}


class Stale(Exception):
    """The text that a mutation replaces is not there exactly once."""


class Broken(Exception):
    """A mutation that doesn't compile shows nothing."""


def digest(*paths):
    """A digest of the contents and names of files and trees."""
    total = hashlib.sha256()
    for path in paths:
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            if "__pycache__" not in file.parts:
                total.update(f"{file.name}\0".encode() + file.read_bytes())
    return total.hexdigest()


def run(command, directory, what):
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, shell=isinstance(command, str))
    if done.returncode != 0:
        raise Broken(f"{what}: {(done.stdout + done.stderr).strip()[-600:]}")


def source_directory(build_directory):
    cache = (build_directory / "CMakeCache.txt").read_text()
    return pathlib.Path(re.search(r"^CMAKE_HOME_DIRECTORY:\w+=(.*)$", cache, re.M)[1])


class Build:
    """A finished build of the tests and the CUDA backend."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.root = source_directory(self.directory)
        self.emulator = self.directory / "cuda_emulator"
        self.sources = self.directory / "mutations"
        entries = json.loads((self.directory / "compile_commands.json").read_text())
        self.commands = {entry["file"]: entry["command"] for entry in entries}
        commands = subprocess.run(["ninja", "-t", "commands", f"bin/{LIBRARY}"], cwd=self.directory, check=True,
                                  capture_output=True, text=True).stdout.splitlines()
        self.link = commands[-1]
        self.nvcc = shlex.split(next(line for line in commands if "compile.sh" in line).split("compile.sh", 1)[1])[0]
        self.emulator_digest = digest(self.root / "tests/cuda_emulator/translator",
                                      self.emulator / "lib/libcudart.so.13",
                                      *sorted(self.root.glob("tests/cuda_emulator/*.h")))
        self.kernels_digest = digest(*(self.root / room for room in ROOMS))

    def kernels(self, folder):
        return self.emulator / folder


class MutatedBuild:
    """The backend's library and kernel modules of one mutation, in a folder of their own."""

    def __init__(self, build, mutation):
        self.build = build
        self.mutation = mutation
        self.folder = build.sources / re.sub(r"\W+", "_", mutation["name"])
        self.unit = pathlib.PurePath(mutation.get("unit", mutation["file"]))

    def key(self):
        text = json.dumps([self.mutation, self.build.emulator_digest, self.build.kernels_digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self):
        """Does nothing where the folder holds this very build."""
        made = self.folder / "made"
        if made.exists() and made.read_text() == self.key():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.copy_sources()
        mutated_object = self.compile_kernels() if self.unit.suffix == ".cu" else self.compile_host()
        self.link_library(mutated_object)
        made.write_text(self.key())

    def copy_sources(self):
        for room in ROOMS:
            shutil.copytree(self.build.root / room, self.folder / "src" / room)
        file = self.folder / "src" / self.mutation["file"]
        text, old = file.read_text(), self.mutation.get("old", "")
        if not old:
            return  # a clean build by the same route
        if text.count(old) != 1:
            raise Stale(f"{self.mutation['file']} has the text {text.count(old)} times, not once: {old.strip()}")
        file.write_text(text.replace(old, self.mutation["new"]))

    def compile_kernels(self):
        name, root = self.unit.stem, self.build.root
        run([root / "kernels/cuda/compile.sh", self.build.nvcc, self.folder / "src" / self.unit, self.folder / "src",
             self.folder], self.folder, "nvcc")
        for folder in {SCHEDULES[mode][0] for mode in self.mutation["modes"]}:
            (self.folder / folder).mkdir()
            source, module = self.folder / folder / f"{name}.cc", self.folder / folder / f"{name}.so"
            run(["/usr/bin/python3", root / "tests/cuda_emulator/translator/translate.py", self.folder / f"{name}.ptx",
                 source, *(["--shadow"] if folder == "shadow" else [])], self.folder, "translator")
            original = str(self.build.kernels(folder) / f"{name}.cc")
            self.compile(original, source, module.with_suffix(".o"))
            run(["c++", "-shared", "-o", module, module.with_suffix(".o"), f"-L{self.build.emulator}/lib", "-lcudart"],
                self.folder, "link of the module")
        return f"kernels/cuda/{name}.o", self.folder / f"{name}.o"

    def compile_host(self):
        to = self.folder / f"{self.unit.stem}.o"
        self.compile(str(self.build.root / self.unit), self.folder / "src" / self.unit, to)
        return f"kernels/cuda/CMakeFiles/latentd_cuda.dir/{self.unit.name}.o", to

    def compile(self, original, source, to):
        words = shlex.split(self.build.commands[original])
        words[words.index("-o") + 1] = str(to)
        words[words.index(original)] = str(source)
        words.insert(1 if "ccache" not in words[0] else 2, f"-I{self.folder}/src")
        words.append("-Wno-error")
        run(words, self.build.directory, "compiler")

    def link_library(self, mutated_object):
        original, mutated = mutated_object
        words = self.build.link.split(" ")
        words[words.index(original)] = str(mutated)
        words[words.index("-o") + 1] = str(self.folder / LIBRARY)
        run(" ".join(words), self.build.directory, "link of the library")

    def run_test(self, mode):
        """The exit code and the output of the mutation's tests; code None where they don't end."""
        folder = SCHEDULES[mode][0]
        kernels = [self.build.kernels(folder), self.folder / folder / f"{self.unit.stem}.so"]
        return run_test(self.build, self.mutation, mode, self.folder, kernels)


def run_test(build, mutation, mode, folder, kernels):
    """Beside the program lies the library that it loads."""
    _, schedule, async_copies = SCHEDULES[mode]
    program = folder / "op_test"
    original = build.directory / "bin" / program.name
    if program != original:
        program.unlink(missing_ok=True)
        os.link(original, program)
    environment = dict(os.environ, LD_LIBRARY_PATH=f"{build.emulator}/lib", LATENTD_TEST_BACKEND="cuda",
                       CUDA_EMULATOR_KERNELS=":".join(str(k) for k in kernels if k.exists()),
                       CUDA_EMULATOR_SCHEDULE=schedule, CUDA_EMULATOR_ASYNC=async_copies, CUDA_EMULATOR_SEED="1")
    try:
        done = subprocess.run([program, f"--gtest_filter={mutation['filter']}", "--gtest_brief=1"], cwd=build.root,
                              env=environment, capture_output=True, text=True, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"no end within {RUN_SECONDS} seconds"
    return done.returncode, done.stdout + done.stderr
