#!/usr/bin/env python3
"""The gates recognise what they are there for: on probe kernels with known faults, and on a tampered EXPECTED.md."""
import dataclasses
import pathlib
import re
import shutil
import tempfile
import unittest

import cubin
import formulas
import kernel_gates
import opcodes
import ptxas
import report
from expectations import Expectations

NVCC = opcodes.default_nvcc()
DATA = """
[machine]
name = "M"
hbm_bytes_per_second = 1e12
tensor_flops = 1e14
fp32_flops = 1e13
[model]
name = "N"
sizes = { width = 128, layers = 2, experts = 4, experts_per_token = 2 }
[weights.bf16]
weight_bytes = 2
[[scenario]]
name = "S"
tokens = 4
rows = 2
context = 1024
[constants]
kRangeKeys = "sizes.h"
[quantities]
[enumerators]
[defaults]
forbid = ["RED.FLOAT", "LD", "ST"]
"""


def entry(kernel, lines="", threads=128):
    return (f'[kernel.{kernel}]\nsource = "probes.cu"\nthreads = {threads}\nbytes = "tokens * width * 8"\n{lines}\n'
            f'[[launch]]\nverb = "V"\nkernel = "{kernel}"\nper = "layers"\n')


class ProbeBuild(unittest.TestCase):
    """The probes, compiled once as if they were the kernels."""

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name)
        shutil.copy(opcodes.PROBES, cls.folder)
        (cls.folder / "sizes.h").write_text("inline constexpr int kRangeKeys = 512;\n")
        path, cls.listing = opcodes.compile_source(NVCC, opcodes.PROBES, cls.folder)
        (cls.folder / "probes.ptxas.txt").write_text(cls.listing)
        cls.probes = cubin.read_kernels(path)
        cls.opcodes = opcodes.learn_from(cls.probes)

    def expectations(self, *entries):
        path = self.folder / "expected.toml"
        path.write_text(DATA + "".join(entries))
        return Expectations(path)

    def build(self, *entries):
        return kernel_gates.read_build(self.folder, self.folder, self.expectations(*entries), self.opcodes)

    def violations(self, kernel, lines="", threads=128):
        """What the gates say of one probe kernel, without the source's name."""
        _, violations = self.build(entry(kernel, lines, threads))
        start = f"probes.cu: {kernel}: "
        return [v.removeprefix(start) for v in violations if v.startswith(start)]


class KernelFaults(ProbeBuild):
    def test_clean_kernel_passes(self):
        self.assertEqual(self.violations("probe_load_128", 'require = ["LDG.128", "STG.128"]'), [])

    def test_spills_are_seen_by_ptxas_and_in_the_code(self):
        text = "\n".join(self.violations("probe_spill", threads=1024))
        for what in ("bytes of stack frame", "bytes of spill stores", "bytes of spill loads", "LDL", "STL"):
            self.assertRegex(text, rf"\d+ {what}, expected none")

    def test_local_array_is_seen(self):
        text = "\n".join(self.violations("probe_local"))
        self.assertIn("bytes of stack frame, expected none", text)
        self.assertRegex(text, r"\d+ LDL, expected none")

    def test_local_store_alone_is_seen(self):
        self.assertIn("1 STL, expected none", self.violations("probe_local_store"))

    def test_every_double_operation_is_seen(self):
        probes = [name for name in self.probes if name.startswith("probe_double_")]
        self.assertEqual(len(probes), 8)
        for name in probes:
            label = (set(opcodes.LABELS_OF_PROBE[name].split()) & kernel_gates.DOUBLE_LABELS).pop()
            self.assertEqual(self.violations(name), [f"1 {label}, expected none"])

    def test_float_conversions_are_not_double(self):
        self.assertEqual(self.violations("probe_conversions"), [])

    def test_missing_opcode_is_seen(self):
        for kernel, label in (("probe_load_64", "LDG.128"), ("probe_plain", "HMMA"), ("probe_copy_wait", "LDGSTS.128"),
                              ("probe_shared_128", "LDSM")):
            self.assertEqual(self.violations(kernel, f'require = ["{label}"]'), [f"no {label}, expected some"])

    def test_present_opcode_is_recognised(self):
        for kernel, label in (("probe_mma_bf16", "HMMA"), ("probe_mma_f16", "HMMA"), ("probe_load_matrix", "LDSM"),
                              ("probe_copy_async", "LDGSTS.128"), ("probe_load_64", "LDG.64"), ("probe_exp2", "MUFU"),
                              ("probe_shuffle", "SHFL"), ("probe_shared_128", "LDS.128")):
            self.assertEqual(self.violations(kernel, f'require = ["{label}"]'), [])

    def test_forbidden_opcodes_are_seen(self):
        self.assertEqual(self.violations("probe_atomic_float"), ["1 RED.FLOAT, expected none"])
        self.assertEqual(self.violations("probe_generic_load"), ["1 LD, expected none"])
        self.assertEqual(self.violations("probe_generic_store"), ["1 ST, expected none"])
        self.assertEqual(self.violations("probe_mma_f16", 'forbid = ["HMMA"]'), ["1 HMMA, expected none"])
        self.assertEqual(self.violations("probe_atomic_int"), [])

    def test_unknown_opcode_is_refused(self):
        for label in ("LDG.256", "HMMA.128", "FROB"):
            self.assertIn(f"{label} is no opcode that the probes teach", self.violations("probe_plain",
                                                                                         f'forbid = ["{label}"]'))

    def test_launch_bounds_must_be_the_entry_s(self):
        self.assertEqual(self.violations("probe_plain", threads=256), ["launch bounds of 128 threads, expected 256"])

    def test_too_much_shared_memory_is_seen(self):
        said = ["232449 bytes of shared memory, at most 232448"]
        self.assertEqual(self.violations("probe_plain", "dynamic_shared = 232448"), [])
        self.assertEqual(self.violations("probe_plain", "dynamic_shared = 232449"), said)
        self.assertEqual(self.violations("probe_plain", "dynamic_shared = 9\nmost_dynamic_shared = 232449"), said)
        # 128 floats of static memory count as well.
        self.assertEqual(self.violations("probe_shared_32", "dynamic_shared = 232448"),
                         ["232960 bytes of shared memory, at most 232448"])

    def test_too_many_registers_are_seen(self):
        expectations = self.expectations(entry("probe_plain", threads=1024))
        kernels, _ = self.build(entry("probe_plain"))
        plain = kernels["probe_plain"]

        def said(registers):
            function = dataclasses.replace(plain.function, registers=registers)
            kernel = dataclasses.replace(plain, function=function, max_threads=1024)
            return list(kernel_gates.kernel_violations("probe_plain", kernel, expectations, self.opcodes))

        self.assertEqual(said(64), [])
        self.assertEqual(said(65), ["65 registers for each of 1024 threads take 73728, at most 65536"])


class BuildFaults(ProbeBuild):
    def test_kernel_without_entry(self):
        _, violations = self.build(entry("probe_plain"))
        self.assertIn("probes.cu: probe_store has no entry in expected.toml", violations)
        self.assertNotIn("probes.cu: probe_plain has no entry in expected.toml", violations)

    def test_entry_without_kernel(self):
        _, violations = self.build(entry("probe_gone"))
        self.assertIn("expected.toml: probe_gone is in no cubin", violations)

    def test_name_in_two_sources(self):
        for suffix in (".cu", ".cubin", ".ptxas.txt"):
            copy = shutil.copy(self.folder / f"probes{suffix}", self.folder / f"twice{suffix}")
            self.addCleanup(copy.unlink)
        _, violations = self.build(entry("probe_plain"))
        self.assertIn("twice.cu: probe_plain is also in probes.cu; give it a name of its own", violations)

    def test_constants_are_those_of_the_sources(self):
        self.assertEqual(self.expectations(entry("probe_plain")).constants, {"kRangeKeys": 512})
        with self.assertRaisesRegex(ValueError, "kGone: sizes.h has no `constexpr int kGone = NUMBER`"):
            (self.folder / "wrong.toml").write_text(DATA.replace("kRangeKeys", "kGone") + entry("probe_plain"))
            Expectations(self.folder / "wrong.toml")

    def test_source_without_output(self):
        (self.folder / "other.cu").write_text("")
        self.addCleanup((self.folder / "other.cu").unlink)
        _, violations = self.build(entry("probe_plain"))
        self.assertIn("other.cu: other.ptxas.txt, other.cubin not in the build; build the kernels first", violations)

    def test_ptxas_complaints_are_violations(self):
        lines = ["ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized",
                 "ptxas warning : Registers are spilled to local memory in function 'k'", "x.cu(3): warning #177-D: y"]
        for line in lines:
            functions, complaints = ptxas.parse(self.listing + line + "\n")
            self.assertEqual(list(kernel_gates.source_violations("x.cu", [], complaints)), [f"x.cu: {line}"])
            self.assertEqual(len(functions), len(self.probes))

    def test_listing_without_properties_is_a_violation(self):
        functions, _ = ptxas.parse("ptxas info    : Compiling entry function 'k' for 'sm_90a'\n")
        self.assertIn("x.cu: k: ptxas says nothing of stack frame; compile with -Xptxas -v",
                      list(kernel_gates.source_violations("x.cu", functions, [])))

    def test_stack_of_a_function_that_was_not_inlined(self):
        functions, _ = ptxas.parse("ptxas info    : Function properties for f\n    8 bytes stack frame, 0 bytes spill "
                                   "stores, 0 bytes spill loads\n")
        self.assertEqual(list(kernel_gates.source_violations("x.cu", functions, [])),
                         ["x.cu: f: 8 bytes of stack frame, expected none"])


class LearnedOpcodes(ProbeBuild):
    def test_census_is_what_each_probe_says_of_itself(self):
        for name, labels in opcodes.LABELS_OF_PROBE.items():
            counted = {label for label in self.opcodes.census(self.probes[name]) if label in self.opcodes.operations}
            self.assertEqual(counted, set(labels.split()), name)

    def test_launch_bounds_are_read(self):
        self.assertEqual(self.probes["probe_plain"].max_threads, 128)
        self.assertEqual(self.probes["probe_spill"].max_threads, 1024)

    def test_doubtful_probes_are_refused(self):
        # A load beside the only store that stood alone: now nothing tells LDL from STL.
        load = self.opcodes.operations["LDL"]
        store, local = self.probes["probe_local_store"], self.probes["probe_local"]
        both = store.instructions + tuple(i for i in local.instructions if i.operation == load)
        probes = self.probes | {"probe_local_store": dataclasses.replace(store, instructions=both)}
        with self.assertRaisesRegex(ValueError, "LDL: the probes leave"):
            opcodes.learn_operations(probes)

    def test_a_probe_without_its_instruction_is_refused(self):
        probes = self.probes | {"probe_mma_f16": self.probes["probe_plain"]}
        with self.assertRaisesRegex(ValueError, "HMMA: the probes leave"):
            opcodes.learn_operations(probes)

    def test_probes_and_labels_must_match(self):
        probes = {name: code for name, code in self.probes.items() if name != "probe_exp2"}
        with self.assertRaisesRegex(ValueError, "probe_exp2"):
            opcodes.learn_operations(probes)


class ExpectedFile(ProbeBuild):
    def setUp(self):
        entries = entry("probe_load_128", 'require = ["LDG.128"]')
        kernels, _ = self.build(entries)
        only = {"probe_load_128": kernels["probe_load_128"]}
        self.text = report.expected_text(self.expectations(entries), only, "nvcc of the test")
        self.path = self.folder / "EXPECTED.md"
        self.assertEqual(kernel_gates.compare_or_write(self.path, self.text, write=True), [])

    def test_untouched_file_passes(self):
        self.assertEqual(kernel_gates.compare_or_write(self.path, self.text, write=False), [])

    def test_tampered_file_fails(self):
        registers = re.search(r"\| 128 \| (\d+) \|", self.text)
        tampered = self.text[:registers.start(1)] + "9" + self.text[registers.end(1):]
        self.path.write_text(tampered)
        said = kernel_gates.compare_or_write(self.path, self.text, write=False)
        self.assertEqual(len(said), 1)
        self.assertIn("EXPECTED.md is out of date", said[0])
        self.assertEqual(self.path.read_text(), tampered)

    def test_missing_file_fails(self):
        self.path.unlink()
        self.assertEqual(kernel_gates.compare_or_write(self.path, self.text, write=False),
                         ["EXPECTED.md is missing; run kernel_gates.py with --write"])

    def test_time_at_the_bound(self):
        # 4 tokens * 128 * 8 bytes a launch, at 1 TB/s; two launches a step.
        self.assertIn("| V | `probe_load_128` | 2 | < 0.01 | not measured |", self.text)
        self.assertIn("| V | 4.1 k, 0 |", self.text)
        self.assertIn(f"| **{4 / (2 * 4096e-12):.0f}** | not measured |", self.text)

    def test_violations_leave_the_file_alone(self):
        self.expectations(entry("probe_spill"))
        violations = kernel_gates.check(self.folder, self.folder, NVCC, write=True)
        self.assertTrue(any("probe_spill" in violation for violation in violations))
        self.assertEqual(self.path.read_text(), self.text)


class Names(unittest.TestCase):
    def test_demangled_names_are_shortened(self):
        for full, short in (
                ("void a::(anonymous namespace)::F<(a::T)1, 4>(a::(anonymous namespace)::X, int const*)",
                 "F<(T)1, 4>"),
                ("void a::F<a::G<(a::T)0, false>, 1>(void (*)(int))", "F<G<(T)0, false>, 1>"),
                ("a::(anonymous namespace)::F(a::X)", "F"),
                ("probe_plain", "probe_plain")):
            self.assertEqual(cubin.short_name(full), short)


class Formulas(unittest.TestCase):
    def test_arithmetic(self):
        self.assertEqual(formulas.evaluate("a * (b + 2) // 3", {"a": 4, "b": 1}), 4)
        self.assertEqual(formulas.evaluate("round_up(a, 8) if a > 8 else ceil(a / 2)", {"a": 9}), 16)

    def test_anything_else_is_refused(self):
        for formula in ("missing", "a.b", "__import__('os')", "[1]", "a[0]", "'x'", "min(a, key=a)", "a and a"):
            with self.assertRaises(ValueError, msg=formula):
                formulas.evaluate(formula, {"a": 1})


if __name__ == "__main__":
    unittest.main()
