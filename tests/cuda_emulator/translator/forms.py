"""One function per form of the opcode table: writes an instruction's C++ statement."""
from opcode_row import bits_of
from operands import C_TYPES, WIDTHS, vector
from ptx_text import BYTES, PtxError

HERE = "CUDA_EMULATOR_HERE"


def expect_count(instruction, *counts):
    if len(instruction.operands) not in counts:
        raise PtxError(f"{len(instruction.operands)} operands")


class Forms:
    """`names` are the function's operands, `sites` numbers its barriers and warp operations, `branches` has the tables
    of indexed branches, `functions` what can be called."""

    def __init__(self, names, branches, functions, is_entry):
        self.names_ = names
        self.branches_ = branches
        self.functions_ = functions
        self.is_entry_ = is_entry
        self.num_sites = 0

    def write(self, row, instruction):
        return getattr(self, row.form)(row, instruction, instruction.operands)

    def site(self):
        self.num_sites += 1
        return f"&sites[{self.num_sites - 1}]"

    def read_all(self, texts, types):
        return [self.names_.read(text, t) for text, t in zip(texts, types)]

    def value(self, row, instruction, operands):
        expect_count(instruction, len(row.sources) + 1)
        code = row.code.format(*self.read_all(operands[1:], row.sources))
        if "|" not in operands[0]:
            return self.names_.write(operands[0], row.result, code)
        if not row.opcode.startswith("setp.") or len(row.sources) != 2:
            raise PtxError("two results")
        first, second = (text.strip() for text in operands[0].split("|"))
        return (f"{{ const bool holds = {code}; {self.names_.write(first, 'pred', 'holds')} "
                f"{self.names_.write(second, 'pred', '!holds')} }}")

    def move(self, row, instruction, operands):
        expect_count(instruction, 2)
        t = row.result
        if operands[0].startswith("{"):
            parts = vector(operands[0])
            width = bits_of(t) // len(parts)
            writes = [self.names_.write(part, f"b{width}", f"static_cast<{WIDTHS[width]}>(whole >> {width * i})")
                      for i, part in enumerate(parts)]
            return f"{{ const auto whole = {self.names_.read(operands[1], f'b{bits_of(t)}')}; {' '.join(writes)} }}"
        if operands[1].startswith("{"):
            parts = vector(operands[1])
            width, whole = bits_of(t) // len(parts), WIDTHS[bits_of(t)]
            joined = " | ".join(f"static_cast<{whole}>({self.names_.read(part, f'b{width}')}) << {width * i}"
                                for i, part in enumerate(parts))
            return self.names_.write(operands[0], f"b{bits_of(t)}", f"static_cast<{whole}>({joined})")
        return self.names_.write(operands[0], t, self.names_.read(operands[1], t))

    def statement(self, row, instruction, operands):
        expect_count(instruction, len(row.sources))
        return row.code.format(*self.read_all(operands, row.sources))

    def nothing(self, row, instruction, operands):
        return ";"

    @staticmethod
    def access(row):
        if row.space in ("local", "param"):
            return "Access::kOwn"
        return "Access::kStrong" if "strong" in row.traits else "Access::kWeak"

    def load(self, row, instruction, operands):
        expect_count(instruction, 2)
        t, c_type = row.result, C_TYPES[row.result]
        targets = vector(operands[0]) if row.vector > 1 else [operands[0]]
        if len(targets) != row.vector:
            raise PtxError(f"a vector of {len(targets)}")
        base = operands[1].strip("[] ").split("+")[0].strip()
        if row.space == "param" and base in self.names_.parameters:
            at = self.names_.parameter(operands[1])
            return " ".join(self.names_.write(target, t, f"LoadParameter<{c_type}>({at} + {i * BYTES[t]})")
                            for i, target in enumerate(targets))
        address, access = self.names_.address(operands[1]), self.access(row)
        if row.vector == 1:
            return self.names_.write(operands[0], t, f"Load<{c_type}, {access}>({address}, {HERE})")
        writes = " ".join(self.names_.write(target, t, f"loaded[{i}]") for i, target in enumerate(targets))
        return (f"{{ {c_type} loaded[{row.vector}]; LoadVector<{c_type}, {row.vector}, {access}>"
                f"(loaded, {address}, {HERE}); {writes} }}")

    def store(self, row, instruction, operands):
        expect_count(instruction, 2)
        t, c_type = row.result, C_TYPES[row.result]
        sources = vector(operands[1]) if row.vector > 1 else [operands[1]]
        if len(sources) != row.vector:
            raise PtxError(f"a vector of {len(sources)}")
        stored = [self.names_.read(source, t) for source in sources]
        base = operands[0].strip("[] ").split("+")[0].strip()
        if row.space == "param" and base in self.names_.parameters:
            return (f"{{ const {c_type} stored[] = {{{', '.join(stored)}}}; "
                    f"std::memcpy({self.names_.parameter(operands[0])}, stored, sizeof stored); }}")
        fence = "ThreadFence(kFenceDevice); " if "release" in row.traits else ""
        address, access = self.names_.address(operands[0]), self.access(row)
        if row.vector == 1:
            return f"{fence}Store<{c_type}, {access}>({address}, {stored[0]}, {HERE});"
        return (f"{fence}{{ const {c_type} stored[] = {{{', '.join(stored)}}}; "
                f"StoreVector<{c_type}, {row.vector}, {access}>(stored, {address}, {HERE}); }}")

    def atomic(self, row, instruction, operands):
        t = row.result or row.traits[-1]
        rest = operands[1:] if row.result else operands
        if len(rest) != len(row.sources) + 1:
            raise PtxError(f"{len(operands)} operands")
        address, values = self.names_.address(rest[0]), ", ".join(self.read_all(rest[1:], row.sources))
        name = "AtomicCompareAndSwap" if row.code == "cas" else f"AtomicUpdate<Atomic::k{row.code.capitalize()}"
        call = f"{name}{f'<{C_TYPES[t]}>' if row.code == 'cas' else f', {C_TYPES[t]}>'}({address}, {values}, {HERE})"
        fence = "ThreadFence(kFenceDevice); " if "release" in row.traits else ""
        written = self.names_.write(operands[0], t, call) if row.result else f"static_cast<void>({call});"
        return f"{{ {fence}{written} }}"

    def async_copy(self, row, instruction, operands):
        expect_count(instruction, 3, 4)
        size = int(operands[2], 0)
        if size not in ((16,) if row.traits[0] == "cg" else (4, 8, 16)):
            raise PtxError(f"a copy of {size} bytes")
        source_bytes = self.names_.read(operands[3], "u32") if len(operands) > 3 else f"{size}u"
        return (f"AsyncCopy(static_cast<uint32_t>({self.names_.address(operands[0])}), "
                f"Pointer({self.names_.address(operands[1])}), {size}, {source_bytes}, {HERE});")

    def barrier(self, row, instruction, operands):
        expect_count(instruction, 1, 2)
        threads = self.names_.read(operands[1], "u32") if len(operands) > 1 else "0u"
        return f"BarrierSyncAt({self.names_.read(operands[0], 'u32')}, {threads}, {self.site()}, {HERE});"

    def shuffle(self, row, instruction, operands):
        expect_count(instruction, 5)
        target, _, valid = (text.strip() for text in operands[0].partition("|"))
        arguments = ", ".join(self.read_all(operands[1:], row.sources))
        call = f"Shuffle({row.code}, {arguments}, {'&is_valid' if valid else 'nullptr'}, {self.site()}, {HERE})"
        if not valid:
            return self.names_.write(target, "b32", call)
        return (f"{{ bool is_valid = false; const uint32_t shuffled = {call}; "
                f"{self.names_.write(target, 'b32', 'shuffled')} {self.names_.write(valid, 'pred', 'is_valid')} }}")

    def vote(self, row, instruction, operands):
        expect_count(instruction, 3)
        arguments = ", ".join(self.read_all(operands[1:], row.sources))
        return self.names_.write(operands[0], row.result, f"{row.code}({arguments}, {self.site()}, {HERE})")

    def reduction(self, row, instruction, operands):
        expect_count(instruction, 3)
        arguments = ", ".join(self.read_all(operands[1:], row.sources))
        call = f"Reduce<Atomic::k{row.code.capitalize()}, {C_TYPES[row.result]}>({arguments}, {self.site()}, {HERE})"
        return self.names_.write(operands[0], row.result, call)

    def load_matrix(self, row, instruction, operands):
        expect_count(instruction, 2)
        targets = vector(operands[0])
        if len(targets) != row.vector:
            raise PtxError(f"{len(targets)} matrices")
        writes = " ".join(self.names_.write(target, "b32", f"loaded[{i}]") for i, target in enumerate(targets))
        return (f"{{ uint32_t loaded[{row.vector}]; LoadMatrix({row.vector}, {row.traits[0]}, "
                f"static_cast<uint32_t>({self.names_.address(operands[1])}), loaded, {self.site()}, {HERE}); "
                f"{writes} }}")

    def matrix_multiply(self, row, instruction, operands):
        expect_count(instruction, 4)
        parts = [vector(operand) for operand in operands]
        if [len(part) for part in parts] != [4, 4, 2, 4]:
            raise PtxError("fragments of another size")
        a, b = (", ".join(self.names_.read(text, "b32") for text in part) for part in parts[1:3])
        c = ", ".join(self.names_.read(text, "f32") for text in parts[3])
        writes = " ".join(self.names_.write(text, "f32", f"sums[{i}]") for i, text in enumerate(parts[0]))
        return (f"{{ const uint32_t a[] = {{{a}}}, b[] = {{{b}}}; float sums[] = {{{c}}}; "
                f"Mma(MmaShape::{row.code}, a, b, sums, sums, {self.site()}, {HERE}); {writes} }}")

    def branch(self, row, instruction, operands):
        expect_count(instruction, 1)
        return f"goto {label_of(operands[0])};"

    def indexed_branch(self, row, instruction, operands):
        expect_count(instruction, 2)
        if operands[1] not in self.branches_:
            raise PtxError(f"no branch targets {operands[1]}")
        cases = " ".join(f"case {i}: goto {label_of(target)};"
                         for i, target in enumerate(self.branches_[operands[1]]))
        return (f"switch ({self.names_.read(operands[0], 'u32')}) {{ {cases} "
                f'default: Fail({HERE}, "trap", "indexed branch past its targets"); }}')

    def return_(self, row, instruction, operands):
        return "return;"

    def exit(self, row, instruction, operands):
        if not self.is_entry_:
            raise PtxError("exit inside a function that isn't a kernel")
        return "return;"

    def call(self, row, instruction, operands):
        result = operands[0].strip("() ") if operands[0].startswith("(") else None
        name, *rest = operands[1:] if result else operands
        arguments = [text.strip() for text in rest[0].strip("() ").split(",") if text.strip()] if rest else []
        unknown = [text for text in arguments + ([result] if result else []) if text not in self.names_.parameters]
        if unknown or len(rest) > 1:
            raise PtxError(f"an indirect call, or an argument that isn't a parameter: {', '.join(operands)}")
        buffers = [self.names_.parameters[text] for text in ([result] if result else []) + arguments]
        if name == "__assertfail":
            message = f"reinterpret_cast<const char*>(LoadParameter<uint64_t>({buffers[0]}))"
            return f'Fail({HERE}, "trap", "assertion in the kernel: %s", {message});'
        if name not in self.functions_:
            raise PtxError(f"{name} isn't defined in this module")
        return f"Function_{name.replace('$', '_')}({', '.join(buffers)});"


def label_of(name):
    return "label_" + name.replace("$", "_").replace("%", "_")
