"""The contents of a cubin: kernels' names, instructions, launch bounds. ELF64 little-endian; no CUDA tool is asked."""
import dataclasses
import pathlib
import re
import struct
import subprocess

INSTRUCTION_BYTES = 16  # since Volta
# Bits 9..11 of an instruction say where its operands come from; the 9 below say what it does.
OPERATION_MASK = 0x1FF
MAX_THREADS_ATTRIBUTE = 0x05  # EIATTR_MAX_THREADS of .nv.info.KERNEL: three 32-bit extents
SIZED_VALUE_FORMAT = 0x04  # of an attribute: its value's size, then the value


@dataclasses.dataclass(frozen=True)
class Instruction:
    low: int
    high: int

    @property
    def operation(self):
        return self.low & OPERATION_MASK

    @property
    def width(self):
        """The field of a load or store that tells 32, 64 and 128 bits apart."""
        return self.high >> 9 & 7


@dataclasses.dataclass(frozen=True)
class KernelCode:
    symbol: str
    instructions: tuple
    max_threads: int | None  # of __launch_bounds__


def sections(content):
    """(name, bytes) of each section of an ELF file."""
    if content[:5] != b"\x7fELF\x02":
        raise ValueError("expected a 64-bit ELF file")
    table, = struct.unpack_from("<Q", content, 0x28)
    entry_bytes, count, names_index = struct.unpack_from("<HHH", content, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", content, table + i * entry_bytes) for i in range(count)]
    names_at = headers[names_index][4]
    for name_offset, kind, _, _, offset, size in headers:
        end = content.index(b"\0", names_at + name_offset)
        name = content[names_at + name_offset:end].decode()
        yield name, b"" if kind == 8 else content[offset:offset + size]  # 8: SHT_NOBITS


def max_threads(attributes):
    """Threads per block that the kernel was compiled for; None where it has no launch bounds."""
    at = 0
    while at + 4 <= len(attributes):
        kind, attribute, size = struct.unpack_from("<BBH", attributes, at)
        at += 4
        if kind != SIZED_VALUE_FORMAT:
            continue  # the two bytes were the value
        if attribute == MAX_THREADS_ATTRIBUTE:
            x, y, z = struct.unpack_from("<III", attributes, at)
            return x * y * z
        at += size
    return None


def read_kernels(path):
    """KernelCode of each kernel in the cubin, by symbol."""
    found = dict(sections(pathlib.Path(path).read_bytes()))
    kernels = {}
    for name, code in found.items():
        if not name.startswith(".text."):
            continue
        symbol = name.removeprefix(".text.")
        instructions = tuple(Instruction(*pair) for pair in struct.iter_unpack("<QQ", code))
        kernels[symbol] = KernelCode(symbol, instructions, max_threads(found.get(".nv.info." + symbol, b"")))
    return kernels


def short_name(demangled):
    """`void a::(anonymous namespace)::F<(a::T)1, 4>(a::X)` is F<(T)1, 4>."""
    name = demangled.replace("(anonymous namespace)::", "")
    if name.endswith(")"):
        depth = 0
        for at in range(len(name) - 1, -1, -1):
            depth += (name[at] == ")") - (name[at] == "(")
            if depth == 0:
                name = name[:at]
                break
    name = re.sub(r"\b\w+::", "", name)
    return name.removeprefix("void ")


def short_names(symbols):
    """The kernels' names as the sources have them, by symbol."""
    symbols = sorted(symbols)
    run = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True)
    return {symbol: short_name(line) for symbol, line in zip(symbols, run.stdout.splitlines(), strict=True)}
