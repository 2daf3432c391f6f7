"""Rows of cvt, mov and cvta."""
from opcode_row import Row, value
from opcodes_float import ROUNDINGS

ALL_INTEGERS = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"]
TO_INTEGER = {"rni": "kNearest", "rzi": "kZero", "rmi": "kDown", "rpi": "kUp"}
TO_F32 = {"f16": "HalfToFloat({0})", "bf16": "BfloatToFloat({0})", "f32": "{0}"}
C_TYPE = {"u8": "uint8_t", "s8": "int8_t", "u16": "uint16_t", "s16": "int16_t", "u32": "uint32_t", "s32": "int32_t",
          "u64": "uint64_t", "s64": "int64_t"}


def integers():
    for d in ALL_INTEGERS:
        for s in ALL_INTEGERS:
            yield value(f"cvt.{d}.{s}", d, [s], f"static_cast<{C_TYPE[d]}>({{0}})")
            yield value(f"cvt.sat.{d}.{s}", d, [s], f"ClampInteger<{C_TYPE[d]}>({{0}})")


def float_to_integer():
    """Clamps always; .sat says nothing more."""
    for d in ALL_INTEGERS:
        for name, rounding in TO_INTEGER.items():
            for s in ("f16", "bf16", "f32", "f64"):
                source = TO_F32.get(s, "{0}")
                code = f"ToInteger<{C_TYPE[d]}, Rounding::{rounding}>"
                yield value(f"cvt.{name}.{d}.{s}", d, [s], f"{code}({source})")
                if s == "f32":
                    yield value(f"cvt.{name}.ftz.{d}.f32", d, ["f32"], f"{code}(Flush({{0}}))")
                if s in ("f32", "f64"):
                    yield value(f"cvt.{name}.sat.{d}.{s}", d, [s], f"{code}({{0}})")


def integer_to_float():
    for s in ALL_INTEGERS:
        for name, rounding in ROUNDINGS.items():
            for d, code in (("f32", "FromInteger<float, Rounding::"), ("f64", "FromInteger<double, Rounding::")):
                yield value(f"cvt.{name}.{d}.{s}", d, [s], f"{code}{rounding}>({{0}})")
        yield value(f"cvt.rn.f16.{s}", "f16", [s], "IntegerToHalf({0})")
        yield value(f"cvt.rn.bf16.{s}", "bf16", [s], "IntegerToBfloat({0})")


def same_width():
    """Rounding to integral values, flushing and saturation."""
    for name, rounding in TO_INTEGER.items():
        for t in ("f32", "f64"):
            yield value(f"cvt.{name}.{t}.{t}", t, [t], f"RoundToIntegral<Rounding::{rounding}>({{0}})")
            yield value(f"cvt.{name}.sat.{t}.{t}", t, [t], f"Saturate(RoundToIntegral<Rounding::{rounding}>({{0}}))")
        code = f"RoundToIntegral<Rounding::{rounding}>(Flush({{0}}))"
        yield value(f"cvt.{name}.ftz.f32.f32", "f32", ["f32"], code)
        yield value(f"cvt.{name}.ftz.sat.f32.f32", "f32", ["f32"], f"Saturate({code})")
        yield value(f"cvt.{name}.f16.f16", "f16", ["f16"],
                    f"FloatToHalf(RoundToIntegral<Rounding::{rounding}>(HalfToFloat({{0}})))")
    for t in ("f32", "f64"):
        yield value(f"cvt.{t}.{t}", t, [t], "{0}")
        yield value(f"cvt.sat.{t}.{t}", t, [t], "Saturate({0})")
    yield value("cvt.ftz.f32.f32", "f32", ["f32"], "Flush({0})")
    yield value("cvt.ftz.sat.f32.f32", "f32", ["f32"], "Saturate(Flush({0}))")


def widths():
    yield value("cvt.f64.f32", "f64", ["f32"], "static_cast<double>({0})")
    yield value("cvt.ftz.f64.f32", "f64", ["f32"], "static_cast<double>(Flush({0}))")
    yield value("cvt.sat.f64.f32", "f64", ["f32"], "Saturate(static_cast<double>({0}))")
    for name, rounding in ROUNDINGS.items():
        code = f"DoubleToFloat<Rounding::{rounding}>({{0}})"
        yield value(f"cvt.{name}.f32.f64", "f32", ["f64"], code)
        yield value(f"cvt.{name}.ftz.f32.f64", "f32", ["f64"], f"Flush({code})")
        yield value(f"cvt.{name}.sat.f32.f64", "f32", ["f64"], f"Saturate({code})")
        yield value(f"cvt.{name}.f16.f64", "f16", ["f64"], f"DoubleToHalf<Rounding::{rounding}>({{0}})")
        yield value(f"cvt.{name}.f16.f32", "f16", ["f32"], f"FloatToHalf<Rounding::{rounding}>({{0}})")
        yield value(f"cvt.{name}.ftz.f16.f32", "f16", ["f32"], f"FloatToHalf<Rounding::{rounding}>(Flush({{0}}))")
        yield value(f"cvt.{name}.sat.f16.f32", "f16", ["f32"], f"FloatToHalf<Rounding::{rounding}>(Saturate({{0}}))")
    yield value("cvt.f32.f16", "f32", ["f16"], "HalfToFloat({0})")
    yield value("cvt.ftz.f32.f16", "f32", ["f16"], "Flush(HalfToFloat({0}))")
    yield value("cvt.sat.f32.f16", "f32", ["f16"], "Saturate(HalfToFloat({0}))")
    yield value("cvt.f64.f16", "f64", ["f16"], "static_cast<double>(HalfToFloat({0}))")
    yield value("cvt.f32.bf16", "f32", ["bf16"], "BfloatToFloat({0})")
    yield value("cvt.rna.tf32.f32", "b32", ["f32"], "FloatToTf32({0})")


def packed():
    """Pairs: the first source goes to the high half."""
    for name in ("rn", "rz"):
        rounding = f"Rounding::{ROUNDINGS[name]}"
        for relu in ("", ".relu"):
            source = ["Relu({0})", "Relu({1})"] if relu else ["{0}", "{1}"]
            yield value(f"cvt.{name}{relu}.bf16.f32", "bf16", ["f32"], f"FloatToBfloat<{rounding}>({source[0]})")
            for t, function in (("f16x2", "FloatToHalf"), ("bf16x2", "FloatToBfloat")):
                yield value(f"cvt.{name}{relu}.{t}.f32", t, ["f32", "f32"],
                            f"Pair({function}<{rounding}>({source[0]}), {function}<{rounding}>({source[1]}))")
        yield value(f"cvt.{name}.relu.f16.f32", "f16", ["f32"], f"FloatToHalf<{rounding}>(Relu({{0}}))")
    for t, tag in (("e4m3x2", "E4m3"), ("e5m2x2", "E5m2")):
        for relu, function in (("", f"FloatTo{tag}"), (".relu", f"FloatTo{tag}Relu")):
            yield value(f"cvt.rn.satfinite{relu}.{t}.f32", "b16", ["f32", "f32"],
                        f"PairOfBytes({function}({{0}}), {function}({{1}}))")
            yield value(f"cvt.rn.satfinite{relu}.{t}.f16x2", "b16", ["f16x2"],
                        f"PairOfBytes({function}(HighHalf({{0}})), {function}(LowHalf({{0}})))")
        yield value(f"cvt.rn.f16x2.{t}", "f16x2", ["b16"],
                    f"Pair({tag}ToHalf(HighByte({{0}})), {tag}ToHalf(LowByte({{0}})))")
        yield value(f"cvt.rn.relu.f16x2.{t}", "f16x2", ["b16"],
                    f"Pair({tag}ToHalfRelu(HighByte({{0}})), {tag}ToHalfRelu(LowByte({{0}})))")


def moves():
    for t in ("b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64", "pred", "f16", "bf16"):
        yield Row(f"mov.{t}", "move", t, (t,), "{0}")
    for space in ("global", "shared", "local", "const", "param", "shared::cta"):
        yield value(f"cvta.{space}.u64", "u64", ["u64"], "{0}")
        yield value(f"cvta.to.{space}.u64", "u64", ["u64"], "{0}")
    yield value("isspacep.shared", "pred", ["u64"], "IsShared({0})")


def rows():
    for part in (integers, float_to_integer, integer_to_float, same_width, widths, packed, moves):
        yield from part()
