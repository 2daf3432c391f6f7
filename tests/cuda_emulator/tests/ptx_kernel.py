"""Common to all generated test kernels: a module's head, registers, and the addresses of the thread's operands and
results."""
from opcode_row import bits_of

HEAD = """.version 9.0
.target sm_90a
.address_size 64
"""
SLOTS = 1024  # threads of a case, each with its own operands


def kernel(name, body, operand_bytes, result_bytes, declarations=""):
    """%rd1 is the thread's operands, %rd2 its first result; the result of case i is at i * SLOTS * result_bytes."""
    lines = "".join(f"\t{line}\n" for line in body)
    return f"""
.visible .entry {name}(
	.param .u64 {name}_param_0,
	.param .u64 {name}_param_1
)
.maxntid 256, 1, 1
{{
	.reg .pred %p<8>;
	.reg .b16 %rs<32>;
	.reg .b32 %r<64>;
	.reg .b64 %rd<64>;
	.reg .f32 %f<32>;
	.reg .f64 %fd<32>;
{declarations}
	.file 1 "opcodes.cu"
	.loc 1 1 0
	mov.u32 %r1, %ctaid.x;
	mov.u32 %r2, %ntid.x;
	mov.u32 %r3, %tid.x;
	mad.lo.s32 %r4, %r1, %r2, %r3;
	ld.param.u64 %rd1, [{name}_param_0];
	ld.param.u64 %rd2, [{name}_param_1];
	mul.wide.u32 %rd3, %r4, {operand_bytes};
	add.s64 %rd1, %rd1, %rd3;
	mul.wide.u32 %rd4, %r4, {result_bytes};
	add.s64 %rd2, %rd2, %rd4;
{lines}	ret;
}}
"""


def register(ptx_type, number):
    """A register that holds the type; 8 bits are kept in 16."""
    prefix = {"pred": "p", "f32": "f", "f64": "fd"}.get(ptx_type)
    return f"%{prefix or {8: 'rs', 16: 'rs', 32: 'r', 64: 'rd'}[bits_of(ptx_type)]}{number}"


def load_operand(ptx_type, number, offset):
    """Instructions that fill register `number` of the type from the low bits of a 64-bit slot."""
    wide = f"%rd{20 + number}"
    load = [f"ld.global.b64 {wide}, [%rd1+{offset}];"]
    if ptx_type == "pred":
        return load + [f"and.b64 {wide}, {wide}, 1;", f"setp.ne.s64 {register('pred', number)}, {wide}, 0;"]
    target = register(ptx_type, number)
    if target.startswith("%fd"):
        return load + [f"mov.b64 {target}, {wide};"]
    if target.startswith("%f"):
        return load + [f"cvt.u32.u64 %r{20 + number}, {wide};", f"mov.b32 {target}, %r{20 + number};"]
    if target.startswith("%rd"):
        return load + [f"mov.b64 {target}, {wide};"]
    return load + [f"cvt.u{16 if target.startswith('%rs') else 32}.u64 {target}, {wide};"]


def store_result(ptx_type, number, offset):
    if ptx_type == "pred":
        return [f"selp.b32 %r30, 1, 0, {register('pred', number)};", f"st.global.b32 [%rd2+{offset}], %r30;"]
    name = register(ptx_type, number)
    width = 16 if name.startswith("%rs") else 64 if name.startswith(("%rd", "%fd")) else 32
    return [f"st.global.b{width} [%rd2+{offset}], {name};"]
