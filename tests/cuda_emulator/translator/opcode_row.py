"""One row of the opcode table. A row is one complete opcode with all its modifiers; the tables are lists of rows."""
import dataclasses

INTEGERS = ["u16", "s16", "u32", "s32", "u64", "s64"]
COMPARISONS_OF_INTEGERS = {"eq": "Equal", "ne": "NotEqual", "lt": "Less", "le": "LessEqual", "gt": "Greater",
                           "ge": "GreaterEqual", "lo": "Less", "ls": "LessEqual", "hi": "Greater", "hs": "GreaterEqual"}
COMPARISONS_OF_FLOATS = {"eq": "Equal", "ne": "OrderedNotEqual", "lt": "Less", "le": "LessEqual", "gt": "Greater",
                         "ge": "GreaterEqual", "equ": "EqualOrNan", "neu": "NotEqual", "ltu": "LessOrNan",
                         "leu": "LessEqualOrNan", "gtu": "GreaterOrNan", "geu": "GreaterEqualOrNan",
                         "num": "BothNumbers", "nan": "EitherNan"}


@dataclasses.dataclass(frozen=True)
class Row:
    opcode: str
    form: str              # how operands are written; a function of the emitter
    result: str = ""       # type of the first operand
    sources: tuple = ()    # types of the others
    code: str = ""         # C++ of the result, {0} is the first source
    space: str = ""        # memory rows: "", global, shared, local, const, param
    vector: int = 1        # memory rows
    traits: tuple = ()     # what else the form wants to know
    reason: str = ""       # form "refused": why


def value(opcode, result, sources, code):
    return Row(opcode, "value", result, tuple(sources), code)


def refused(opcode, reason):
    return Row(opcode, "refused", reason=reason)


def bits_of(ptx_type):
    """The width in a type's name: 32 for s32 and for f16x2."""
    return {"f16x2": 32, "bf16x2": 32, "bf16": 16, "pred": 1}.get(ptx_type) or int(ptx_type[1:])
