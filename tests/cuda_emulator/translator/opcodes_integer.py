"""Rows of integer and bit instructions, comparisons and selections."""
from opcode_row import COMPARISONS_OF_INTEGERS, INTEGERS, bits_of, value

BITS = ["b16", "b32", "b64"]


def arithmetic():
    for t in INTEGERS:
        yield value(f"add.{t}", t, [t, t], "Add({0}, {1})")
        yield value(f"sub.{t}", t, [t, t], "Subtract({0}, {1})")
        yield value(f"mul.lo.{t}", t, [t, t], "MultiplyLow({0}, {1})")
        yield value(f"mul.hi.{t}", t, [t, t], "MultiplyHigh({0}, {1})")
        yield value(f"mad.lo.{t}", t, [t, t, t], "Add(MultiplyLow({0}, {1}), {2})")
        yield value(f"mad.hi.{t}", t, [t, t, t], "Add(MultiplyHigh({0}, {1}), {2})")
        yield value(f"div.{t}", t, [t, t], "Divide({0}, {1})")
        yield value(f"rem.{t}", t, [t, t], "Remainder({0}, {1})")
        yield value(f"min.{t}", t, [t, t], "Minimum({0}, {1})")
        yield value(f"max.{t}", t, [t, t], "Maximum({0}, {1})")
        if t[0] == "s":
            yield value(f"abs.{t}", t, [t], "Absolute({0})")
            yield value(f"neg.{t}", t, [t], "Negate({0})")
        if bits_of(t) < 64:
            wide = f"{t[0]}{2 * bits_of(t)}"
            yield value(f"mul.wide.{t}", wide, [t, t], "MultiplyWide({0}, {1})")
            yield value(f"mad.wide.{t}", wide, [t, t, wide], "Add(MultiplyWide({0}, {1}), {2})")
    for a in ("u32", "s32"):
        for b in ("u32", "s32"):
            sum_type = "s32" if "s32" in (a, b) else "u32"
            yield value(f"dp4a.{a}.{b}", sum_type, [a, b, sum_type], "DotOfBytes({0}, {1}, {2})")


def logic():
    for t in BITS:
        for name, code in (("and", "And"), ("or", "Or"), ("xor", "Xor")):
            yield value(f"{name}.{t}", t, [t, t], f"{code}({{0}}, {{1}})")
        yield value(f"not.{t}", t, [t], "Not({0})")
        yield value(f"shl.{t}", t, [t, "u32"], "ShiftLeft({0}, {1})")
    for t in INTEGERS + BITS:
        yield value(f"shr.{t}", t, [t, "u32"], "ShiftRight({0}, {1})")
    yield value("and.pred", "pred", ["pred", "pred"], "({0} && {1})")
    yield value("or.pred", "pred", ["pred", "pred"], "({0} || {1})")
    yield value("xor.pred", "pred", ["pred", "pred"], "({0} != {1})")
    yield value("not.pred", "pred", ["pred"], "(!{0})")


def bit_fields():
    for side, code in (("l", "FunnelLeft"), ("r", "FunnelRight")):
        yield value(f"shf.{side}.wrap.b32", "b32", ["b32", "b32", "u32"], f"{code}({{0}}, {{1}}, {{2}} & 31u)")
        yield value(f"shf.{side}.clamp.b32", "b32", ["b32", "b32", "u32"],
                    f"{code}({{0}}, {{1}}, Minimum({{2}}, 32u))")
    for t in ("u32", "s32", "u64", "s64"):
        yield value(f"bfe.{t}", t, [t, "u32", "u32"], "ExtractBits({0}, {1}, {2})")
        yield value(f"bfind.{t}", "u32", [t], "FindHighestBit({0})")
        yield value(f"bfind.shiftamt.{t}", "u32", [t], "ShiftOfHighestBit({0})")
    for t in ("b32", "b64"):
        yield value(f"bfi.{t}", t, [t, t, "u32", "u32"], "InsertBits({0}, {1}, {2}, {3})")
        yield value(f"popc.{t}", "u32", [t], "CountOnes({0})")
        yield value(f"clz.{t}", "u32", [t], "CountLeadingZeros({0})")
        yield value(f"brev.{t}", t, [t], "ReverseBits({0})")
    yield value("prmt.b32", "b32", ["b32", "b32", "b32"], "PermuteBytes({0}, {1}, {2})")
    yield value("lop3.b32", "b32", ["b32", "b32", "b32", "u32"], "LogicOfThree({0}, {1}, {2}, {3})")


def choices():
    for t in INTEGERS + BITS + ["f32", "f64"]:
        yield value(f"selp.{t}", t, [t, t, "pred"], "({2} ? {0} : {1})")
    for t in INTEGERS + BITS:
        names = {"b": ("eq", "ne"), "s": ("eq", "ne", "lt", "le", "gt", "ge"), "u": tuple(COMPARISONS_OF_INTEGERS)}
        for name in names[t[0]]:
            yield from comparisons(f"setp.{name}", t, COMPARISONS_OF_INTEGERS[name])


def comparisons(opcode, t, code, wrap=""):
    """setp, alone and joined with a predicate. Operands go through `wrap` first."""
    compare = f"{code}({wrap}({{0}}), {wrap}({{1}}))"
    yield value(f"{opcode}.{t}", "pred", [t, t], compare)
    for name, join in (("and", "&&"), ("or", "||"), ("xor", "!=")):
        joined = opcode.removesuffix(".ftz") + f".{name}" + (".ftz" if opcode.endswith(".ftz") else "")
        yield value(f"{joined}.{t}", "pred", [t, t, "pred"], f"({compare} {join} {{2}})")


def rows():
    for part in (arithmetic, logic, bit_fields, choices):
        yield from part()
