"""How the programs are built and what of a running daemon could reach a core dump: read with readelf, from the build's
commands and from /proc."""
import json
import pathlib
import re
import resource
import shlex
import subprocess
import unittest

import daemon

PROGRAMS = ("latentd", "latentctl", "latentctl-load", "latentctl-doctor", "latent-convert")
CUDA_LIBRARY = daemon.BIN / "liblatentd_cuda.so"  # only where there is nvcc
# They copy nothing into buffers of known size: the build's commands, not symbols, show that copies would be checked.
COPY_NOTHING = (CUDA_LIBRARY, daemon.BIN / "latentctl")
COMMANDS = daemon.BIN.parent / "compile_commands.json"


def read_elf(path, *options):
    done = subprocess.run(["readelf", "--wide", *options, path], capture_output=True, text=True, check=True,
                          timeout=daemon.PATIENCE_SECONDS)
    return done.stdout


def fortification(command):
    """The level of checked copies that a compiler's command asks for; without optimisation there is none."""
    level, is_optimised = 0, False
    for word in shlex.split(command):
        if word.startswith(("-D_FORTIFY_SOURCE", "-U_FORTIFY_SOURCE")):
            level = int(word.partition("=")[2] or "0")
        elif re.match(r"-O", word):
            is_optimised = word != "-O0"
    return level if is_optimised else 0


def binaries():
    return [daemon.BIN / name for name in PROGRAMS] + [CUDA_LIBRARY] * CUDA_LIBRARY.exists()


class BinaryTest(unittest.TestCase):
    def test_is_position_independent(self):
        for path in binaries():
            with self.subTest(path.name):
                self.assertRegex(read_elf(path, "--file-header"), r"Type: +DYN")
                if path != CUDA_LIBRARY:
                    self.assertRegex(read_elf(path, "--dynamic"), r"FLAGS_1.* PIE")

    def test_relocations_are_resolved_at_start_and_then_read_only(self):
        for path in binaries():
            with self.subTest(path.name):
                self.assertIn("GNU_RELRO", read_elf(path, "--program-headers"))
                self.assertRegex(read_elf(path, "--dynamic"), r"BIND_NOW|FLAGS_1.* NOW")

    def test_no_memory_is_writable_and_executable(self):
        for path in binaries():
            with self.subTest(path.name):
                headers = read_elf(path, "--program-headers")
                self.assertRegex(headers, r"GNU_STACK.* RW +0x")
                self.assertNotIn("RWE", headers)

    def test_stacks_are_guarded_and_copies_checked(self):
        for path in binaries():
            with self.subTest(path.name):
                symbols = read_elf(path, "--dyn-syms")
                self.assertIn("__stack_chk_fail", symbols)
                if path not in COPY_NOTHING:
                    self.assertRegex(symbols, r"__(memcpy|memset|memmove|snprintf|vsnprintf|read|fprintf|printf)_chk")

    def test_every_source_is_compiled_with_checked_copies(self):
        levels = []
        for entry in json.loads(COMMANDS.read_text()):
            name = entry["file"].removeprefix(f"{daemon.ROOT}/")
            if name.startswith(("base/", "jinja/", "kernels/", "engine/", "server/", "tools/")):
                levels.append((name, fortification(entry["command"])))
        self.assertLess({"tools/latentctl/latentctl.cc", "server/main.cc"}, {name for name, _ in levels})
        self.assertEqual([name for name, level in levels if level < 3], [])

    def test_indirect_jumps_lead_to_marked_places(self):
        for path in binaries():
            with self.subTest(path.name):
                if "X86-64" in read_elf(path, "--file-header"):
                    # Functions whose address is taken begin with endbr64.
                    code = subprocess.run(["objdump", "--disassemble", "--section=.text", path], capture_output=True,
                                          text=True, check=True, timeout=daemon.PATIENCE_SECONDS).stdout
                    self.assertGreater(code.count("endbr64"), 100)


class CoreDumpTest(unittest.TestCase):
    """What a core dump of the daemon would hold: nothing unless asked for, and then neither weights nor cache."""

    def proc(self, server, name):
        return pathlib.Path(f"/proc/{server.process.pid}/{name}").read_text()

    def limit(self, server):
        return re.search(r"^Max core file size +(\S+)", self.proc(server, "limits"), re.M)[1]

    def mappings(self, server):
        """[(name, resident kB, flags)]"""
        found = []
        for line in self.proc(server, "smaps").splitlines():
            if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
                words = line.split(maxsplit=5)
                found.append([words[5] if len(words) > 5 else "", 0, ()])
            elif line.startswith("Rss:"):
                found[-1][1] = int(line.split()[1])
            elif line.startswith("VmFlags:"):
                found[-1][2] = tuple(line.split()[1:])
        return found

    def test_off_unless_asked_for(self):
        before = resource.getrlimit(resource.RLIMIT_CORE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, before)
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # what the daemon inherits
        with daemon.Daemon() as server:
            self.assertEqual(self.limit(server), "0")
            # A program that the kernel pipes dumps to gets them whatever the limit: no kind of memory is in them.
            self.assertEqual(int(self.proc(server, "coredump_filter"), 16), 0)

    def test_on_when_asked_for(self):
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        with daemon.Daemon("--core-dumps", "on") as server:
            self.assertEqual(self.limit(server), "unlimited" if hard == resource.RLIM_INFINITY else str(hard))
            self.assertNotEqual(int(self.proc(server, "coredump_filter"), 16), 0)

    def test_weights_and_cache_are_never_in_it(self):
        with daemon.Daemon("--core-dumps", "on", "--kv-bytes", str(64 << 20)) as server:
            server.once(daemon.request())
            mappings = self.mappings(server)
        kept_out = [(name, resident) for name, resident, flags in mappings if "dd" in flags]
        weights_kb = (daemon.MODEL / "model.safetensors").stat().st_size // 1024
        self.assertGreater(sum(resident for name, resident in kept_out if name == ""), weights_kb // 2)
        for name, resident, flags in mappings:
            if name.endswith(".safetensors"):
                self.assertIn("dd", flags, name)
            elif name == "":
                # A packed matrix of the bundled model is at least so large; thread stacks and arenas are not resident.
                self.assertTrue("dd" in flags or resident < 4096, (name, resident, flags))


if __name__ == "__main__":
    unittest.main()
