"""Writes operands of a function as C++: registers, literals, addresses, symbols and special registers."""
import re
import struct

from opcode_row import bits_of
from ptx_text import PtxError

C_TYPES = {"pred": "bool", "b8": "uint8_t", "u8": "uint8_t", "s8": "int8_t", "b16": "uint16_t", "u16": "uint16_t",
           "s16": "int16_t", "f16": "uint16_t", "bf16": "uint16_t", "b32": "uint32_t", "u32": "uint32_t",
           "s32": "int32_t", "f16x2": "uint32_t", "bf16x2": "uint32_t", "f32": "float", "b64": "uint64_t",
           "u64": "uint64_t", "s64": "int64_t", "f64": "double"}
SPECIAL = {"%laneid": "current_thread->lane", "%warpid": "current_thread->warp"}
SPECIAL |= {f"%tid.{axis}": f"current_thread->tid.{axis}" for axis in "xyz"}
SPECIAL |= {f"%{name}.{axis}": f"{name}.{axis}" for name in ("ctaid", "ntid", "nctaid") for axis in "xyz"}
SPECIAL |= {f"%lanemask_{name}": f"LaneMask{name.capitalize()}()" for name in ("eq", "lt", "le", "gt", "ge")}
WIDTHS = {8: "uint8_t", 16: "uint16_t", 32: "uint32_t", 64: "uint64_t"}


def identifier(name):
    """A C++ name of a PTX name."""
    return ("r_" if name.startswith("%") else "n_") + re.sub(r"\W", "_", name.lstrip("%"))


def is_float(ptx_type):
    return ptx_type in ("f32", "f64")


def literal(text, ptx_type):
    """A constant as a value of the type, or nothing."""
    exact = re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})|0[dD]([0-9A-Fa-f]{16})", text)
    if exact:
        width = 32 if exact[1] else 64
        number = f"0x{exact[1] or exact[2]}u" if width == 32 else f"0x{exact[2]}ull"
        if bits_of(ptx_type) != width:
            raise PtxError(f"the literal {text} isn't {ptx_type}")
        return f"Bits<{C_TYPES[ptx_type]}>({WIDTHS[width]}{{{number}}})"
    if re.fullmatch(r"-?\d+\.\d*(?:[eE][-+]?\d+)?", text) and is_float(ptx_type):
        code, letter = ("<d", "d") if ptx_type == "f64" else ("<f", "f")
        return literal(f"0{letter}{struct.pack(code, float(text))[::-1].hex()}", ptx_type)
    number = re.fullmatch(r"(-?)(0[xX][0-9A-Fa-f]+|0[bB][01]+|\d+)U?", text)
    if not number or is_float(ptx_type):
        return None
    digits = number[2]
    base = 8 if re.fullmatch(r"0\d+", digits) else 0
    value = int(digits, base) * (-1 if number[1] else 1)
    if ptx_type == "pred":
        return "true" if value else "false"
    return f"static_cast<{C_TYPES[ptx_type]}>(0x{value % 2 ** 64:x}ull)"


class Operands:
    """The names of one function."""

    def __init__(self):
        self.registers = {}   # name -> type
        self.symbols = {}     # name -> C++ expression of the address, as uint64_t
        self.parameters = {}  # name -> C++ expression of a std::byte*

    def read(self, text, ptx_type):
        """The operand as a value of the type."""
        if text.startswith("!"):
            return f"(!{self.read(text[1:], 'pred')})"
        c_type = C_TYPES[ptx_type]
        if text in self.registers:
            return self.converted(identifier(text), self.registers[text], ptx_type)
        if text in SPECIAL:
            return f"static_cast<{c_type}>({SPECIAL[text]})"
        name, _, offset = (part.strip() for part in text.partition("+"))
        if name in self.symbols:
            return f"static_cast<{c_type}>({self.symbols[name]} + {int(offset or 0)})"
        value = literal(text, ptx_type)
        if value is None:
            raise PtxError(f"operand {text} isn't known")
        return value

    def converted(self, name, register_type, ptx_type):
        if register_type == ptx_type or C_TYPES[register_type] == C_TYPES[ptx_type]:
            return name
        if "pred" in (register_type, ptx_type):
            raise PtxError(f"predicate used as {ptx_type}, or {ptx_type} as a predicate")
        width, wanted = bits_of(register_type), bits_of(ptx_type)
        if width == wanted:
            if is_float(register_type) or is_float(ptx_type):
                return f"Bits<{C_TYPES[ptx_type]}>({name})"
            return f"static_cast<{C_TYPES[ptx_type]}>({name})"
        if width < wanted or is_float(ptx_type):
            raise PtxError(f"a register of {width} bits used as {ptx_type}")
        bits = f"Bits<{WIDTHS[width]}>({name})" if is_float(register_type) else name
        return f"static_cast<{C_TYPES[ptx_type]}>({bits})"

    def write(self, text, ptx_type, value):
        """A statement that puts a value of the type into a register; a wider one is filled by sign or with zeros."""
        if text == "_":
            return f"static_cast<void>({value});"
        register_type = self.registers.get(text)
        if register_type is None:
            raise PtxError(f"operand {text} isn't a register")
        name, c_type, own = identifier(text), C_TYPES[ptx_type], C_TYPES[register_type]
        if own == c_type:
            return f"{name} = {value};"
        if "pred" in (register_type, ptx_type):
            raise PtxError(f"a {ptx_type} written to a {register_type}")
        width, given = bits_of(register_type), bits_of(ptx_type)
        if width < given or (width > given and (is_float(ptx_type) or is_float(register_type))):
            raise PtxError(f"a {ptx_type} written to a {register_type}")
        if is_float(register_type) or is_float(ptx_type):
            return f"{name} = Bits<{own}, {c_type}>({value});"
        return f"{name} = static_cast<{own}>(static_cast<{c_type}>({value}));"

    def address(self, text):
        """[base+offset] as a uint64_t. A 32-bit base is a shared address."""
        match = re.fullmatch(r"\[\s*([^\s+\]]+)\s*(?:\+\s*(-?\w+))?\s*\]", text)
        if not match:
            raise PtxError(f"address {text} not understood")
        base, offset = match[1], int(match[2] or "0", 0)
        if base in self.symbols:
            address = self.symbols[base]
        elif base in self.registers:
            address = self.read(base, "u64" if bits_of(self.registers[base]) == 64 else "u32")
            if bits_of(self.registers[base]) != 64:
                address = f"uint64_t{{{address}{f' + {offset % 2 ** 32}u' if offset else ''}}}"
                offset = 0
        else:
            raise PtxError(f"address {text} isn't known")
        return f"{address} + {offset % 2 ** 64}ull" if offset else address

    def parameter(self, text):
        """[name+offset] of the parameter space, as a std::byte*."""
        match = re.fullmatch(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+))?\s*\]", text)
        if not match or match[1] not in self.parameters:
            raise PtxError(f"parameter {text} isn't known")
        return f"{self.parameters[match[1]]} + {int(match[2] or 0)}"


def vector(text):
    """The elements of {a, b}."""
    if not text.startswith("{") or not text.endswith("}"):
        raise PtxError(f"expected a vector operand, found {text}")
    return [element.strip() for element in text[1:-1].split(",")]
