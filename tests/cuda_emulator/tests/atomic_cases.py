"""Kernels for the rows of atomics. Each thread has its own cell; of a case it gets the old value (of atom) and what the
cell holds afterwards, 8 bytes each."""
from opcode_row import bits_of
import ptx_kernel

OPERAND_BYTES, RESULT_BYTES = 32, 16  # operands: the cell's first value, then two of the instruction
CASES_PER_KERNEL = 100


def case(row, index):
    t = row.result or row.traits[-1]
    width = bits_of(t)
    cell = "%r10" if row.space == "shared" else "%rd10"
    space = row.space or "global"
    old, *operands = (ptx_kernel.register(t, n) for n in (16, 11, 12))
    operands = ", ".join(operands[:len(row.sources)])
    at = index * ptx_kernel.SLOTS * RESULT_BYTES
    first = ptx_kernel.register(t, 10 if t in ("f32", "f64") else 17)
    lines = [f"ld.global.{t} {first}, [%rd1];", f"add.s64 %rd5, %rd2, {at};"]
    if cell == "%rd10":
        lines.append("add.s64 %rd10, %rd5, 8;")
    lines.append(f"st.{space}.b{width} [{cell}], {first};")
    result = f"{old}, " if row.result else ""
    lines.append(f"{row.opcode} {result}[{cell}], {operands};")
    if row.result:
        lines.append(f"st.global.b{width} [%rd5], {old};")
    if space == "shared":
        lines += [f"ld.shared.{t} {first}, [{cell}];", f"st.global.b{width} [%rd5+8], {first};"]
    return lines


def modules(rows):
    by_type = {}
    for row in rows.values():
        if row.form == "atomic":
            by_type.setdefault(row.result or row.traits[-1], []).append(row)
    module, lines, number = ptx_kernel.HEAD, [], 0
    for t, found in by_type.items():
        for start in range(0, len(found), CASES_PER_KERNEL):
            name = f"atomic_{number}"
            number += 1
            body = ["mul.lo.s32 %r10, %r3, 8;", "mov.u32 %r9, cells;", "add.s32 %r10, %r10, %r9;"]
            body += ptx_kernel.load_operand(t, 11, 8) + ptx_kernel.load_operand(t, 12, 16)
            for index, row in enumerate(found[start:start + CASES_PER_KERNEL]):
                body += case(row, index)
                lines.append(f"{name} {index} {row.opcode} {t} {','.join(row.sources)} {row.code}")
            module += ptx_kernel.kernel(name, body, OPERAND_BYTES, RESULT_BYTES,
                                        "\t.shared .align 8 .b8 cells[2048];")
    yield "atomics", module, lines
