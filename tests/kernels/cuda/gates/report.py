"""kernels/cuda/EXPECTED.md: the kernels as compiled, and a step's time at the machine's bounds."""

PREFACE = """# Expected of the CUDA kernels

Written by `tests/kernels/cuda/gates/kernel_gates.py --write` from `expected.toml` and the compiled kernels; a test
fails when it is out of date. Model: {model}. Machine: one {machine}, {bandwidth:.2f} TB/s, {tensor:.0f} TFLOP/s
dense bf16 (tensor cores), {fp32:.1f} TFLOP/s fp32. Compiled by {compiler}.

Everything here is arithmetic on shapes and on the compiler's output. **Nothing was measured.** A bound is what memory
has to move at least (each operand once) or what the kernels as written compute (padding and split activations counted)
at the machine's peak, whichever takes longer. On top come launch latency (of as many launches as the tables say),
ramps, imperfect overlap, and in prefill the weights, read anew for every 32 tokens, mostly from L2. FP8 means the
linear weights of the checkpoint, multiplied with FP8 codes of their inputs (activations=fp8); embedding,
router and head are bf16 in both, their inputs and all else fp32, the cache bf16 unless a title says FP8.
"""
COMPILED = """## As compiled

No kernel spills or uses the stack, local memory or double precision. Dynamic shared memory is that for the model above.

"""
STEP = """## A step with {title}

Microseconds per launch at the bound, in decode of so many rows at that context, and in a chunk of one prompt: bytes
bind, or FLOPs where an F stands. Launches are those of a decode step.

"""
AMOUNTS = """
Bytes and FLOPs per launch:

"""
MEASURED = "not measured"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def compiled_section(expectations, kernels):
    """One row per instance; of opcodes those that are required, with their counts."""
    rows = []
    for name in sorted(kernels, key=lambda n: (kernels[n].source, n)):
        kernel = kernels[name]
        required, _ = expectations.opcodes(name)
        use = kernel.block_use(expectations.shared_bytes(name))
        shared = f"{kernel.function.shared_bytes} + {use.shared_bytes - kernel.function.shared_bytes}"
        opcodes = ", ".join(f"{kernel.census.get(label, 0)} {label}" for label in sorted(set(required)))
        occupancy = f"{use.blocks()} ({use.blocks() * use.warps} of 64 warps)"
        rows.append([f"`{name}`", kernel.source, str(use.threads), str(kernel.function.registers), shared, occupancy,
                     use.limited_by(), str(kernel.num_instructions), opcodes or "–"])
    head = ["kernel", "source", "threads", "registers", "shared bytes, static + dynamic", "blocks per SM", "limited by",
            "instructions", "required opcodes"]
    return COMPILED + table(head, rows)


def in_microseconds(seconds):
    if seconds < 1e-8:
        return "< 0.01"
    return f"{seconds * 1e6:.2f}" if seconds < 1e-5 else f"{seconds * 1e6:.1f}"


def size(count):
    """A count to three digits with a decimal prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {prefix}"
    return f"{count:.3g}"


def bound_time(work):
    mark = "" if work.bound == "bytes" else " F"
    return in_microseconds(work.seconds / work.launches) + mark


def sum_rows(scenarios, works):
    """works[scenario][launch]: the step's launches, time and rate."""
    totals = [sum(w.seconds for w in column) for column in works]
    launches = [sum(w.launches for w in column) for column in works]
    byte_counts = [sum(w.bytes for w in column) for column in works]
    rates = [scenario["tokens"] / total for scenario, total in zip(scenarios, totals)]
    return [["**launches of a step**", "", "", *(f"{n:.0f}" for n in launches), ""],
            ["**GB of a step**", "", "", *(f"{n / 1e9:.3g}" for n in byte_counts), ""],
            ["**ms of a step at the bound**", "", "", *(f"**{t * 1e3:.3g}**" for t in totals), MEASURED],
            ["**tokens/s at the bound**", "", "", *(f"**{r:.0f}**" for r in rates), MEASURED]]


def step_section(expectations, weights):
    scenarios = expectations.scenarios
    quantities = [expectations.quantities(scenario, weights) for scenario in scenarios]
    works = [[expectations.work(launch, named) for launch in expectations.launches] for named in quantities]
    names = [scenario["name"] for scenario in scenarios]
    times, amounts = [], []
    for i, launch in enumerate(expectations.launches):
        of_launch = [column[i] for column in works]
        if not of_launch[0].launches:
            continue
        first = [launch["verb"], f"`{launch['kernel']}`", f"{of_launch[0].launches:.0f}"]
        times.append([*first, *map(bound_time, of_launch), MEASURED])
        amounts.append([launch["verb"], *(f"{size(w.bytes / w.launches)}, {size(w.flops / w.launches)}"
                                          for w in of_launch)])
    times += sum_rows(scenarios, works)
    title = {"fp8": "FP8 weights", "bf16": "bf16 weights", "fp8_cache": "FP8 weights and an FP8 cache"}[weights]
    return (STEP.format(title=title) + table(["verb", "kernel", "launches", *names, "measured"], times) + AMOUNTS
            + table(["verb", *names], amounts))


def expected_text(expectations, kernels, compiler):
    machine = expectations.data["machine"]
    preface = PREFACE.format(model=expectations.data["model"]["name"], machine=machine["name"], compiler=compiler,
                             bandwidth=machine["hbm_bytes_per_second"] / 1e12, tensor=machine["tensor_flops"] / 1e12,
                             fp32=machine["fp32_flops"] / 1e12)
    sections = [preface, compiled_section(expectations, kernels)]
    sections += [step_section(expectations, weights) for weights in expectations.weights]
    return "\n".join(sections)
