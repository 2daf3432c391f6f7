"""Kernels for control flow, barriers, warp operations, asynchronous copies and tensor cores: one kernel per row, one
block of 64 threads. Each thread has 64 bytes of operands, words 0 to 15, and gets 64 bytes of results."""
import memory_cases
import ptx_kernel

BYTES = 64
FUNCTION = """
.func (.param .b32 result) twice_and_one(
	.param .b32 first,
	.param .align 8 .b8 second[8]
)
{
	.reg .b32 %r<6>;
	ld.param.b32 %r1, [first];
	ld.param.b32 %r2, [second+4];
	add.s32 %r3, %r1, %r1;
	add.s32 %r4, %r3, %r2;
	st.param.b32 [result], %r4;
	ret;
}
"""
SHUFFLE_CLAMPS = {"up": (0, 0x1800), "down": (31, 0x181f), "bfly": (31, 0x181f), "idx": (31, 0x181f)}
WORDS = ["ld.global.b32 %r11, [%rd1];", "ld.global.b32 %r12, [%rd1+4];", "mov.u32 %r5, %laneid;"]


def own_shared():
    """%r10 is 64 bytes of shared memory of the thread, filled with its operands."""
    return memory_cases.SHARED[1] + memory_cases.fill("shared")


def results_from_shared():
    return memory_cases.copy("%rd2", "%r10", "st.global.v4.b32", "ld.shared.v4.b32")


def through_neighbour(wait, distance):
    """Reads the first word of another thread after the instruction."""
    return own_shared() + [wait, f"xor.b32 %r12, %r3, {distance};", "mul.lo.s32 %r12, %r12, 64;",
                           "add.s32 %r12, %r12, %r11;", "ld.shared.b32 %r13, [%r12];", "st.global.b32 [%rd2], %r13;"]


def statement(row):
    name = row.opcode
    if name.startswith("cp.async"):
        waits = {"cp.async.wait_all": ["cp.async.wait_all;"]}.get(
            name, ["cp.async.commit_group;", "cp.async.wait_group 0;"])
        return own_shared() + ["cp.async.cg.shared.global [%r10], [%rd1+32], 16;"] + waits + results_from_shared()
    if name == "bar.warp.sync":
        return through_neighbour("bar.warp.sync -1;", 1)
    text = f"{name} 20;" if name == "nanosleep.u32" else f"{name};"
    return WORDS + ["st.global.b32 [%rd2], %r11;", text]


def nothing(row):
    return WORDS + [f"{row.opcode} [%rd1];", "st.global.b32 [%rd2], %r11;"]


def async_copy(row):
    lines = own_shared() + [f"{row.opcode} [%r10+16], [%rd1+32], 16;", f"{row.opcode} [%r10+32], [%rd1], 16, 8;"]
    if row.traits[0] == "ca":
        lines += [f"{row.opcode} [%r10], [%rd1+48], 4;", f"{row.opcode} [%r10+8], [%rd1+40], 8;",
                  f"{row.opcode} [%r10+56], [%rd1+4], 4, 0;"]
    return lines + ["cp.async.wait_all;"] + results_from_shared()


def barrier(row):
    return through_neighbour(f"{row.opcode} 0;", 32) + [
        f"{row.opcode} 1, 64;", "st.shared.b32 [%r10], %r13;", f"{row.opcode} 1, 64;", "ld.shared.b32 %r14, [%r12];",
        "st.global.b32 [%rd2+4], %r14;"]


def shuffle(row):
    whole, eighths = SHUFFLE_CLAMPS[row.opcode.split(".")[2]]
    return WORDS + [f"{row.opcode} %r16|%p1, %r11, %r12, {whole}, -1;", "selp.b32 %r17, 1, 0, %p1;",
                    f"{row.opcode} %r18, %r11, %r12, {eighths}, 0xffffffff;",
                    "st.global.v2.b32 [%rd2], {%r16, %r17};", "st.global.b32 [%rd2+8], %r18;"]


# Lanes 8 to 23 only, in %p2.
SOME_LANES = ["sub.u32 %r6, %r5, 8;", "setp.lt.u32 %p2, %r6, 16;"]


def vote(row):
    lines = WORDS + SOME_LANES + ["and.b32 %r6, %r11, 1;", "setp.eq.s32 %p1, %r6, 1;", "setp.ge.u32 %p3, %r11, 0;",
                                  "mov.b32 %r16, 0;", "mov.b32 %r17, 0;", "mov.b32 %r18, 0;"]
    if row.result == "b32":
        lines += [f"{row.opcode} %r16, %p1, -1;", f"{row.opcode} %r17, %p3, -1;",
                  f"@%p2 {row.opcode} %r18, !%p1, 0x00ffff00;"]
    else:
        lines += ["setp.ne.u32 %p4, %r5, %r5;", f"{row.opcode} %p5, %p1, -1;", "selp.b32 %r16, 1, 0, %p5;",
                  f"{row.opcode} %p5, %p3, -1;", "selp.b32 %r17, 1, 0, %p5;",
                  f"@%p2 {row.opcode} %p4, !%p3, 0x00ffff00;", "selp.b32 %r18, 1, 0, %p4;"]
    return lines + ["st.global.v2.b32 [%rd2], {%r16, %r17};", "st.global.b32 [%rd2+8], %r18;"]


def reduction(row):
    return WORDS + SOME_LANES + ["mov.b32 %r17, 0;", f"{row.opcode} %r16, %r11, 0xffffffff;",
                                 f"@%p2 {row.opcode} %r17, %r11, 0x00ffff00;",
                                 "st.global.v2.b32 [%rd2], {%r16, %r17};"]


def load_matrix(row):
    """Lane k gives the row at byte 16 * (k % 4) of the operands of lane 5 * k % 32 of its warp."""
    targets = ", ".join(f"%r{16 + i}" for i in range(row.vector))
    stores = [f"st.global.b32 [%rd2+{4 * i}], %r{16 + i};" for i in range(row.vector)]
    return own_shared() + ["bar.warp.sync -1;", "mov.u32 %r5, %laneid;", "mul.lo.s32 %r6, %r5, 5;",
                           "and.b32 %r6, %r6, 31;", "and.b32 %r7, %r3, 32;", "add.s32 %r6, %r6, %r7;",
                           "mul.lo.s32 %r6, %r6, 64;", "and.b32 %r7, %r5, 3;", "mul.lo.s32 %r7, %r7, 16;",
                           "add.s32 %r6, %r6, %r7;", "add.s32 %r6, %r6, %r11;",
                           f"{row.opcode} {{{targets}}}, [%r6];"] + stores


def matrix_multiply(row):
    """Words 0 to 3 are A, 4 and 5 B, 6 to 9 C."""
    loads = [f"ld.global.b32 %r{16 + i}, [%rd1+{4 * i}];" for i in range(6)]
    loads += [f"ld.global.f32 %f{i}, [%rd1+{24 + 4 * i}];" for i in range(4)]
    return loads + [f"{row.opcode} {{%f4, %f5, %f6, %f7}}, {{%r16, %r17, %r18, %r19}}, {{%r20, %r21}}, "
                    "{%f0, %f1, %f2, %f3};", "st.global.v4.f32 [%rd2], {%f4, %f5, %f6, %f7};"]


def branch(row):
    """Counts the ones of a word's low byte."""
    return WORDS + ["and.b32 %r6, %r11, 255;", "mov.b32 %r7, 0;", "$again:", "setp.eq.s32 %p1, %r6, 0;",
                    f"@%p1 {row.opcode} $done;", "and.b32 %r8, %r6, 1;", "add.s32 %r7, %r7, %r8;",
                    "shr.u32 %r6, %r6, 1;", f"{row.opcode} $again;", "$done:", "st.global.b32 [%rd2], %r7;"]


def indexed_branch(row):
    return WORDS + ["and.b32 %r6, %r11, 1;", "$targets: .branchtargets $zero, $one;", f"{row.opcode} %r6, $targets;",
                    "$zero:", "mov.b32 %r7, 100;", "bra $end;", "$one:", "mov.b32 %r7, 200;", "$end:",
                    "st.global.b32 [%rd2], %r7;"]


def call(row):
    return WORDS + ["{", ".param .b32 a;", "st.param.b32 [a], %r11;", ".param .align 8 .b8 b[8];",
                    "st.param.b32 [b+4], %r12;", ".param .b32 c;", f"{row.opcode} (c), twice_and_one, (a, b);",
                    "ld.param.b32 %r13, [c];", "}", "st.global.b32 [%rd2], %r13;"]


def return_(row):
    return WORDS + ["and.b32 %r6, %r5, 1;", "setp.eq.s32 %p1, %r6, 1;", f"@%p1 {row.opcode};",
                    "st.global.b32 [%rd2], %r11;"]


FORMS = (statement, nothing, async_copy, barrier, shuffle, vote, reduction, load_matrix, matrix_multiply, branch,
         indexed_branch, call, return_)


def modules(rows):
    writers = {writer.__name__: writer for writer in FORMS} | {"exit": return_}
    module, lines = ptx_kernel.HEAD + FUNCTION, []
    for row in rows.values():
        if row.form in writers:
            name = f"thread_{len(lines)}"
            declarations = memory_cases.SHARED[0]
            module += ptx_kernel.kernel(name, writers[row.form](row), BYTES, BYTES, declarations)
            lines.append(f"{name} 0 {row.opcode} {row.form} {','.join(row.sources) or '-'} {row.vector}")
    yield "threads", module, lines
