#!/usr/bin/env python3
"""The translator's refusals and their messages; where lines come from; how names and shared memory are laid out."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "translator"))

from module_writer import ModuleWriter  # noqa: E402
from opcodes import table  # noqa: E402
import ptx_text  # noqa: E402

TABLE = table()
HEAD = '.version 9.0\n.target sm_90a\n.address_size 64\n.file 1 "norm.cu"\n.file 2 "ptx.cuh"\n'


def module(body, before=""):
    return (HEAD + before + ".visible .entry kernel(.param .u64 kernel_param_0)\n.maxntid 128, 1, 1\n{\n"
            ".reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .b64 %rd<8>;\n.reg .f32 %f<8>;\n" + body + "\nret;\n}\n")


def translate(text, shadow=False):
    writer = ModuleWriter(ptx_text.read_module(text), TABLE, shadow)
    return writer.text(), writer.problems


def problems(body):
    return translate(module(".loc 1 7 3\n" + body))[1]


class Refusals(unittest.TestCase):
    def test_all_unknown_opcodes_are_named_at_once(self):
        found = problems("add.sat.s32 %r1, %r2, %r3;\n.loc 1 9 3\nadd.sat.s32 %r1, %r2, %r3;\nfrobnicate.b32 %r1;")
        self.assertEqual(found, ["norm.cu:7: add.sat.s32: not in the opcode table (2 uses)",
                                 "norm.cu:9: frobnicate.b32: not in the opcode table"])

    def test_a_known_name_with_another_modifier_is_unknown(self):
        for opcode in ("cvt.rni.f32.s32", "ex2.approx.f64", "fma.rn.sat.f64", "shl.s32", "ld.global.u128"):
            self.assertIn("not in the opcode table", problems(f"{opcode} %r1, %r2;")[0])

    def test_opcodes_of_later_kernels_say_so(self):
        for opcode in ("wgmma.fence.sync.aligned", "mbarrier.init.shared.b64", "cp.async.bulk.commit_group",
                       "setmaxnreg.inc.sync.aligned.u32", "stmatrix.sync.aligned.m8n8.x4.shared.b16",
                       "fence.proxy.async", "elect.sync"):
            self.assertEqual(problems(f"{opcode} %r1;"), [f"norm.cu:7: {opcode}: comes with the wgmma kernels"])

    def test_opcodes_without_defined_lanes_have_their_reason(self):
        self.assertIn("use a ballot", problems("match.any.sync.b32 %r1, %r2, -1;")[0])
        self.assertIn("pass masks", problems("activemask.b32 %r1;")[0])

    def test_operands_of_another_type_are_refused(self):
        self.assertIn("used as u64", problems("add.u64 %rd1, %r2, %rd3;")[0])
        self.assertIn("written to", problems("add.u64 %r1, %rd2, %rd3;")[0])
        self.assertIn("isn't known", problems("add.u32 %r1, %r2, %nothing;")[0])
        self.assertIn("2 operands", problems("add.u32 %r1, %r2;")[0])
        self.assertIn("isn't known", problems("mov.u32 %r1, %clock;")[0])

    def test_a_call_of_an_undefined_function_is_refused(self):
        self.assertIn("vprintf isn't defined", problems("{ .param .b64 a; call.uni vprintf, (a); }")[0])

    def test_two_results_need_a_plain_comparison(self):
        self.assertEqual(problems("setp.lt.s32 %p1|%p2, %r1, %r2;"), [])
        self.assertIn("two results", problems("setp.lt.and.s32 %p1|%p2, %r1, %r2, %p3;")[0])


class Lines(unittest.TestCase):
    def test_code_inlined_from_a_header_has_the_line_of_the_kernel(self):
        text, _ = translate(module(".loc 1 12 3\nmov.b32 %r1, 0;\n.loc 2 40 1, function_name $L__info_string0, "
                                   "inlined_at 1 12 3\n.loc 2 50 1, function_name $L__info_string1, inlined_at 2 40 1\n"
                                   "bar.sync 0;"))
        self.assertIn('#line 12 "norm.cu"', text)
        self.assertNotIn("ptx.cuh", text)

    def test_line_zero_keeps_the_line_before(self):
        text, _ = translate(module(".loc 1 12 3\nmov.b32 %r1, 0;\n.loc 1 0 3\nmov.b32 %r2, 0;"))
        self.assertNotIn("#line 0", text)


class Layout(unittest.TestCase):
    def test_static_shared_arrays_lie_after_each_other_aligned(self):
        text, found = translate(module(".shared .align 4 .b8 first[6];\n.shared .align 16 .b8 second[8];\n"
                                       "mov.u32 %r1, second;\nst.shared.b32 [first+4], %r1;"))
        self.assertEqual(found, [])
        self.assertIn("SharedBase()) + 16ull", text)
        self.assertIn('Kernel{"kernel", &Kernel_kernel, {{0, 8}}, 8, 24, 128, false}', text)

    def test_dynamic_shared_memory_has_no_static_bytes(self):
        text, _ = translate(module("mov.u32 %r1, pool;", ".extern .shared .align 16 .b8 pool[];\n"))
        self.assertIn("DynamicShared()", text)
        self.assertIn("8, 0, 128, false}", text)

    def test_variables_are_registered(self):
        text, _ = translate(module("ld.const.b32 %r1, [table+4];", ".const .align 4 .b8 table[8] = {1, 2, 3};\n"
                                   ".visible .global .align 4 .u32 counter;\n"))
        self.assertIn('Variable{"table", n_table, sizeof n_table, true}', text)
        self.assertIn('Variable{"counter", n_counter, sizeof n_counter, false}', text)

    def test_names_of_inner_scopes_are_their_own(self):
        _, found = translate(module("{ .reg .b32 t; mov.b32 t, 1; }\n{ .reg .b64 t; mov.b64 t, 2; }"))
        self.assertEqual(found, [])

    def test_a_shadow_module_says_so(self):
        text, _ = translate(module("mov.b32 %r1, 0;"), shadow=True)
        self.assertIn("#define CUDA_EMULATOR_SHADOW 1", text)
        self.assertIn("128, true}", text)


if __name__ == "__main__":
    unittest.main()
