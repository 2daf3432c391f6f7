"""Kernels for the rows of loads and stores. Each thread has 64 bytes of operands and gets 32 bytes per load (four
elements of 8), or 64 per store: the operand bytes, of which the store overwrites some."""
from opcode_row import bits_of
import ptx_kernel

OPERAND_BYTES = 64
LOADED_BYTES, STORED_BYTES = 32, 64
CASES_PER_KERNEL = 40
CONSTANT = [(37 * i + 11) % 256 for i in range(64)]  # what the .const array of the tests holds


def element_type(t):
    """The register type of an element: 8 and 16 bits are loaded into 32, to see the extension."""
    return t if t in ("f32", "f64") else f"b{max(bits_of(t), 32)}"


def elements(row, first):
    names = [ptx_kernel.register(element_type(row.result), first + i) for i in range(row.vector)]
    return names, "{" + ", ".join(names) + "}" if row.vector > 1 else names[0]


def copy(to, source, store, load):
    """Moves 64 bytes by 16."""
    lines = []
    for offset in range(0, 64, 16):
        lines += [f"{load} {{%r40, %r41, %r42, %r43}}, [{source}+{offset}];",
                  f"{store} [{to}+{offset}], {{%r40, %r41, %r42, %r43}};"]
    return lines


# Where a space's bytes of the thread are: declarations, instructions that set it up, and the base of addresses.
SHARED = ("\t.shared .align 16 .b8 buffer[16384];", ["mul.lo.s32 %r10, %r3, 64;", "mov.u32 %r11, buffer;",
                                                     "add.s32 %r10, %r10, %r11;"], "%r10")
LOCAL = ("\t.local .align 16 .b8 depot[64];", ["mov.u64 %rd10, depot;"], "%rd10")
PARAM = ("\t.param .align 16 .b8 argument[64];", [], "argument")


def place_of(row):
    if row.space == "shared":
        return SHARED
    return {"local": LOCAL, "param": PARAM}.get(row.space, ("", [], "%rd1"))


def fill(space):
    """Copies the operands there."""
    load = "ld.global.v4.b32"
    return {"shared": copy("%r10", "%rd1", "st.shared.v4.b32", load),
            "local": copy("%rd10", "%rd1", "st.local.v4.b32", load),
            "param": copy("argument", "%rd1", "st.param.v4.b32", load)}.get(space, [])


def load_case(row, index):
    names, target = elements(row, 26)
    base = "table" if row.space == "const" else place_of(row)[2]
    offset = 16 if row.space != "const" else 32
    lines = [f"{row.opcode} {target}, [{base}+{offset}];"]
    width = "b64" if bits_of(row.result) == 64 else "b32"
    at = index * ptx_kernel.SLOTS * LOADED_BYTES
    return lines + [f"st.global.{width} [%rd2+{at + 8 * i}], {name};" for i, name in enumerate(names)]


def store_case(row, index):
    """The operands' first bytes are stored at byte 32 of a copy of the operands."""
    names, source = elements(row, 26)
    size = bits_of(row.result) // 8
    lines = [f"ld.global.{row.result if name.startswith('%f') else f'b{8 * size}'} {name}, [%rd1+{size * i}];"
             for i, name in enumerate(names)]
    lines.insert(0, f"add.s64 %rd5, %rd2, {index * ptx_kernel.SLOTS * STORED_BYTES};")
    if row.space in ("shared", "local", "param"):
        base = place_of(row)[2]
        return (fill(row.space) + lines + [f"{row.opcode} [{base}+32], {source};"]
                + copy("%rd5", base, "st.global.v4.b32", f"ld.{row.space}.v4.b32"))
    return (lines + copy("%rd5", "%rd1", "st.global.v4.b32", "ld.global.v4.b32")
            + [f"{row.opcode} [%rd5+32], {source};"])


def modules(rows):
    for form, result_bytes, case in (("load", LOADED_BYTES, load_case), ("store", STORED_BYTES, store_case)):
        by_space = {}
        for row in rows.values():
            if row.form == form:
                by_space.setdefault(row.space, []).append(row)
        module, lines = ptx_kernel.HEAD, []
        module += f".const .align 16 .b8 table[64] = {{{', '.join(map(str, CONSTANT))}}};\n"
        number = 0
        for space, found in by_space.items():
            for start in range(0, len(found), CASES_PER_KERNEL):
                chunk = found[start:start + CASES_PER_KERNEL]
                name = f"{form}_{number}"
                number += 1
                declarations, body, _ = place_of(chunk[0])
                body = list(body) + (fill(space) if form == "load" else [])
                for index, row in enumerate(chunk):
                    body += case(row, index)
                    lines.append(f"{name} {index} {row.opcode} {row.result} {row.space or 'generic'} {row.vector}")
                module += ptx_kernel.kernel(name, body, OPERAND_BYTES, result_bytes, declarations)
        yield f"{form}s", module, lines
