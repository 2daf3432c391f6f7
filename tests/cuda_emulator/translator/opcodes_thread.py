"""Rows of control flow, barriers, warp operations and tensor cores, and of what is refused with a reason."""
from opcode_row import Row, refused

WGMMA = "comes with the wgmma kernels"


def control():
    for name in ("bra", "bra.uni"):
        yield Row(name, "branch")
    for name in ("brx.idx", "brx.idx.uni"):
        yield Row(name, "indexed_branch")
    for name in ("call", "call.uni"):
        yield Row(name, "call")
    for name in ("ret", "ret.uni"):
        yield Row(name, "return_")
    yield Row("exit", "exit")
    yield Row("trap", "statement", code='Fail(CUDA_EMULATOR_HERE, "trap", "the kernel executed trap");')
    yield Row("nanosleep.u32", "statement", sources=("u32",), code="static_cast<void>({0}); Yield();")


def barriers():
    for name in ("bar.sync", "barrier.sync", "barrier.sync.aligned", "bar.cta.sync", "barrier.cta.sync",
                 "barrier.cta.sync.aligned"):
        yield Row(name, "barrier")
    yield Row("bar.warp.sync", "statement", sources=("b32",), code="WarpSync({0}, CUDA_EMULATOR_HERE);")


def warp():
    for name, mode in (("up", "Up"), ("down", "Down"), ("bfly", "Butterfly"), ("idx", "Index")):
        yield Row(f"shfl.sync.{name}.b32", "shuffle", "b32", ("b32", "b32", "b32", "b32"), f"kShuffle{mode}")
    for name in ("all", "any", "uni"):
        yield Row(f"vote.sync.{name}.pred", "vote", "pred", ("pred", "b32"), f"Vote{name.capitalize()}")
    yield Row("vote.sync.ballot.b32", "vote", "b32", ("pred", "b32"), "Ballot")
    for name, types in (("add", ("u32", "s32")), ("min", ("u32", "s32")), ("max", ("u32", "s32")), ("and", ("b32",)),
                        ("or", ("b32",)), ("xor", ("b32",))):
        for t in types:
            yield Row(f"redux.sync.{name}.{t}", "reduction", t, (t, "b32"), name)


def tensor():
    for count in (1, 2, 4):
        for transposed in ("", ".trans"):
            for shared in ("shared", "shared::cta"):
                yield Row(f"ldmatrix.sync.aligned.m8n8.x{count}{transposed}.{shared}.b16", "load_matrix", "b32",
                          vector=count, traits=("true" if transposed else "false",))
    for shape, types, name in (("m16n8k16", "bf16.bf16", "kM16N8K16Bf16"), ("m16n8k16", "f16.f16", "kM16N8K16F16"),
                               ("m16n8k32", "e4m3.e4m3", "kM16N8K32E4m3")):
        yield Row(f"mma.sync.aligned.{shape}.row.col.f32.{types}.f32", "matrix_multiply", "f32", code=name)


# Families that are refused: any opcode that starts so.
REFUSED_FAMILIES = [
    refused("wgmma.", WGMMA), refused("cp.async.bulk", WGMMA), refused("mbarrier.", WGMMA),
    refused("setmaxnreg.", WGMMA),
    refused("stmatrix.", WGMMA), refused("cp.async.mbarrier", WGMMA), refused("fence.proxy", WGMMA),
    refused("fence.mbarrier_init", WGMMA), refused("elect.", WGMMA), refused("tensormap.", WGMMA),
    refused("barrier.cluster", "clusters aren't emulated"), refused("mapa.", "clusters aren't emulated"),
    refused("griddepcontrol.", "dependent launches aren't emulated"),
    refused("match.", "match depends on which lanes arrive; use a ballot"),
    refused("activemask", "which lanes are together isn't defined; pass masks"),
    refused("bar.arrive", "split barriers aren't emulated"),
    refused("barrier.cta.arrive", "split barriers aren't emulated"),
    refused("bar.red", "reducing barriers aren't emulated"),
    refused("barrier.cta.red", "reducing barriers aren't emulated"),
    refused("tex.", "textures aren't emulated"), refused("surf", "surfaces aren't emulated"),
    refused("shfl.", "only shfl.sync"), refused("vote.", "only vote.sync"),
]


def rows():
    for part in (control, barriers, warp, tensor):
        yield from part()
