"""Rows of floating-point arithmetic: f32, f64, and the half-precision types alone and in pairs."""
from opcode_row import COMPARISONS_OF_FLOATS, value
from opcodes_integer import comparisons

ROUNDINGS = {"rn": "kNearest", "rz": "kZero", "rm": "kDown", "rp": "kUp"}
APPROXIMATE = {"ex2": "Exp2", "lg2": "Log2", "rcp": "Reciprocal", "rsqrt": "ReciprocalRoot", "sqrt": "SquareRoot",
               "sin": "Sine", "cos": "Cosine"}


def flushed(opcode, count, function, saturate=False):
    """An f32 row and its .ftz and .sat variants. `opcode` has a ~ where these stand."""
    for ftz in ("", ".ftz"):
        operands = ", ".join((f"Flush({{{i}}})" if ftz else f"{{{i}}}") for i in range(count))
        code = f"Flush({function}({operands}))" if ftz else f"{function}({operands})"
        yield value(opcode.replace("~", ftz), "f32", ["f32"] * count, code)
        if saturate:
            yield value(opcode.replace("~", ftz + ".sat"), "f32", ["f32"] * count, f"Saturate({code})")


def single():
    for name, function in (("add", "Add"), ("sub", "Subtract"), ("mul", "Multiply")):
        yield from flushed(f"{name}~.f32", 2, function, saturate=True)
        for rounding, code in ROUNDINGS.items():
            exact = f"{function}<Rounding::{code}>" if rounding != "rn" else function
            yield from flushed(f"{name}.{rounding}~.f32", 2, exact, saturate=True)
    for rounding, code in ROUNDINGS.items():
        exact = f"FusedMultiplyAdd<Rounding::{code}>" if rounding != "rn" else "FusedMultiplyAdd"
        yield from flushed(f"fma.{rounding}~.f32", 3, exact, saturate=True)
    yield from flushed("div.rn~.f32", 2, "DivideFloat")
    yield from flushed("div.full~.f32", 2, "DivideFloat")
    yield from flushed("div.approx~.f32", 2, "DivideApproximate")
    yield from flushed("rcp.rn~.f32", 1, "Reciprocal")
    yield from flushed("sqrt.rn~.f32", 1, "SquareRoot")
    for name, function in APPROXIMATE.items():
        yield from flushed(f"{name}.approx~.f32", 1, function)
    yield value("tanh.approx.f32", "f32", ["f32"], "HyperbolicTangent({0})")
    yield from flushed("abs~.f32", 1, "AbsoluteFloat")
    yield from flushed("neg~.f32", 1, "NegateFloat")
    for name in ("Minimum", "Maximum"):
        yield from flushed(f"{name[:3].lower()}~.f32", 2, f"{name}Number")
        yield from flushed(f"{name[:3].lower()}~.NaN.f32", 2, f"{name}OrNan")


def double():
    pair, one = ["f64", "f64"], ["f64"]
    for name, function in (("add", "Add"), ("sub", "Subtract"), ("mul", "Multiply")):
        yield value(f"{name}.f64", "f64", pair, f"{function}({{0}}, {{1}})")
        yield value(f"{name}.rn.f64", "f64", pair, f"{function}({{0}}, {{1}})")
    yield value("fma.rn.f64", "f64", ["f64"] * 3, "FusedMultiplyAdd({0}, {1}, {2})")
    yield value("div.rn.f64", "f64", pair, "DivideFloat({0}, {1})")
    yield value("rcp.rn.f64", "f64", one, "Reciprocal({0})")
    yield value("sqrt.rn.f64", "f64", one, "SquareRoot({0})")
    yield value("abs.f64", "f64", one, "AbsoluteFloat({0})")
    yield value("neg.f64", "f64", one, "NegateFloat({0})")
    yield value("min.f64", "f64", pair, "MinimumNumber({0}, {1})")
    yield value("max.f64", "f64", pair, "MaximumNumber({0}, {1})")


def tests_and_choices():
    for t in ("f32", "f64"):
        yield value(f"copysign.{t}", t, [t, t], "CopySign({0}, {1})")
        for test in ("finite", "infinite", "number", "notanumber", "normal", "subnormal"):
            yield value(f"testp.{test}.{t}", "pred", [t], f"Is{test.capitalize()}({{0}})")
    for name, function in COMPARISONS_OF_FLOATS.items():
        yield from comparisons(f"setp.{name}", "f64", function)
        yield from comparisons(f"setp.{name}", "f32", function)
        yield from comparisons(f"setp.{name}.ftz", "f32", function, "Flush")
        for t, widen in (("f16", "HalfToFloat"), ("bf16", "BfloatToFloat")):
            yield from comparisons(f"setp.{name}", t, function, widen)


def half():
    """Opcodes of one half-precision number, and of a pair: the same function on both halves."""
    for t, number in (("f16", "Half"), ("bf16", "Bfloat")):
        for suffix in ("", "x2"):
            kind = t + suffix

            def row(opcode, function, count):
                name = f"{function}Of<{number}>"
                operands = ", ".join(f"{{{i}}}" for i in range(count))
                code = f"Two<{name}>({operands})" if suffix else f"{name}({operands})"
                return value(f"{opcode}.{kind}", kind, [kind] * count, code)

            for name, function in (("add", "Add"), ("sub", "Subtract"), ("mul", "Multiply")):
                yield row(name, function, 2)
                yield row(f"{name}.rn", function, 2)
            yield row("fma.rn", "Fma", 3)
            yield row("fma.rn.relu", "FmaRelu", 3)
            yield row("neg", "Negate", 1)
            yield row("abs", "Absolute", 1)
            for name in ("Minimum", "Maximum"):
                yield row(name[:3].lower(), name, 2)
                yield row(f"{name[:3].lower()}.NaN", f"{name}OrNan", 2)


def rows():
    for part in (single, double, tests_and_choices, half):
        yield from part()
