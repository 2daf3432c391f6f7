"""Rows of loads, stores, atomics, asynchronous copies and fences."""
from opcode_row import Row, bits_of, refused

TYPES = ["b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"]
HINTED_TYPES = ["u8", "b8", "u16", "b16", "b32", "u32", "s32", "f32", "b64", "u64", "f64"]
EVICTIONS = [".L1::no_allocate", ".L1::evict_first", ".L1::evict_last", ".L1::evict_normal", ".L1::evict_unchanged"]
PREFETCHES = [".L2::64B", ".L2::128B", ".L2::256B"]
SCOPES = ["cta", "gpu", "sys"]
ATOMIC_TYPES = {"add": ["u32", "s32", "u64", "f32", "f64"], "min": ["u32", "s32", "u64", "s64"],
                "max": ["u32", "s32", "u64", "s64"], "and": ["b32", "b64"], "or": ["b32", "b64"],
                "xor": ["b32", "b64"], "inc": ["u32"], "dec": ["u32"], "exch": ["b32", "b64"], "cas": ["b32", "b64"]}


def vectors(t):
    return [1, 2, 4] if bits_of(t) < 64 else [1, 2]


def access(form, prefix, space, types, traits=()):
    for t in types:
        for n in vectors(t):
            yield Row(f"{prefix}{f'.v{n}' if n > 1 else ''}.{t}", form, t, space=space, vector=n, traits=traits)


def loads():
    for space in ("", "global", "shared", "shared::cta", "local", "const", "param"):
        yield from access("load", f"ld.{space}".rstrip("."), space.split(":")[0], TYPES)
        if space in ("", "global", "shared"):
            yield from access("load", f"ld.volatile.{space}".rstrip("."), space, TYPES, ("strong",))
    yield from access("load", "ld.global.nc", "global", TYPES)
    for cache in ("ca", "cg", "cs", "lu", "cv"):
        traits = ("strong",) if cache == "cv" else ()
        yield from access("load", f"ld.global.{cache}", "global", HINTED_TYPES, traits)
    for cache in ("ca", "cg", "cs"):
        yield from access("load", f"ld.global.{cache}.nc", "global", HINTED_TYPES)
    for hint in EVICTIONS + PREFETCHES + [".L1::no_allocate" + p for p in PREFETCHES]:
        yield from access("load", f"ld.global{hint}", "global", HINTED_TYPES)
        yield from access("load", f"ld.global.nc{hint}", "global", HINTED_TYPES)


def stores():
    for space in ("", "global", "shared", "shared::cta", "local", "param"):
        yield from access("store", f"st.{space}".rstrip("."), space.split(":")[0], TYPES)
        if space in ("", "global", "shared"):
            yield from access("store", f"st.volatile.{space}".rstrip("."), space, TYPES, ("strong",))
    for hint in [".wb", ".cg", ".cs", ".wt"] + EVICTIONS:
        yield from access("store", f"st.global{hint}", "global", HINTED_TYPES)


def ordered():
    """Loads and stores that don't race with each other. A release is a fence and then the relaxed store."""
    for scope in SCOPES:
        for space in ("", ".global", ".shared"):
            for t in ("b32", "u32", "s32", "f32", "b64", "u64"):
                for order in ("relaxed", "acquire"):
                    yield Row(f"ld.{order}.{scope}{space}.{t}", "load", t, space=space[1:], traits=("strong",))
                yield Row(f"st.relaxed.{scope}{space}.{t}", "store", t, space=space[1:], traits=("strong",))
                yield Row(f"st.release.{scope}{space}.{t}", "store", t, space=space[1:],
                          traits=("strong", "release"))


def atomics():
    orders = [""] + [f".{order}.{scope}" for order in ("relaxed", "acquire", "release", "acq_rel") for scope in SCOPES]
    for order in orders:
        traits = ("release",) if order.startswith((".release", ".acq_rel")) else ()
        for space in ("", ".global", ".shared"):
            for name, types in ATOMIC_TYPES.items():
                if order and name not in ("add", "exch", "cas"):
                    continue
                for t in types:
                    operands = (t, t) if name == "cas" else (t,)
                    yield Row(f"atom{order}{space}.{name}.{t}", "atomic", t, operands, name, space[1:], traits=traits)
                    if name not in ("exch", "cas") and not order.startswith((".acquire", ".acq_rel")):
                        yield Row(f"red{order}{space}.{name}.{t}", "atomic", "", operands, name, space[1:],
                                  traits=traits + (t,))


def asynchronous():
    for cache in ("ca", "cg"):
        for shared in ("shared", "shared::cta"):
            for hint in [""] + PREFETCHES:
                yield Row(f"cp.async.{cache}.{shared}.global{hint}", "async_copy", traits=(cache,))
    yield Row("cp.async.commit_group", "statement", code="AsyncCommit();")
    yield Row("cp.async.wait_all", "statement", code="AsyncCommit(); AsyncWait(0, CUDA_EMULATOR_HERE);")
    yield Row("cp.async.wait_group", "statement", sources=("u32",), code="AsyncWait({0}, CUDA_EMULATOR_HERE);")


def fences():
    for name, scope in (("membar.cta", "Block"), ("membar.gl", "Device"), ("membar.sys", "System"),
                        ("fence.sc.cta", "Block"), ("fence.sc.gpu", "Device"), ("fence.sc.sys", "System"),
                        ("fence.acq_rel.cta", "Block"), ("fence.acq_rel.gpu", "Device"),
                        ("fence.acq_rel.sys", "System")):
        yield Row(name, "statement", code=f"ThreadFence(kFence{scope});")
    for where in ("prefetch.global.L1", "prefetch.global.L2", "prefetchu.L1"):
        yield Row(where, "nothing")


def rows():
    for part in (loads, stores, ordered, atomics, asynchronous, fences):
        yield from part()
    for name in ("ld.global.L2::cache_hint", "st.global.L2::cache_hint"):
        yield refused(name, "cache policies as operands aren't read; use an eviction priority")
