"""Kernels for the rows that compute a value from values: one kernel per list of source types."""
import ptx_kernel

TABLES_OF_LOP3 = [0x00, 0x01, 0x1b, 0x80, 0x96, 0xca, 0xe8, 0xfe, 0xff]
OPERAND_BYTES, RESULT_BYTES = 32, 8
NUM_MODULES = 3
CASES_PER_KERNEL = 250


def instances(row):
    """A row's constants: the value of each operand that has to be an immediate, or None."""
    if row.opcode == "lop3.b32":
        return [(None, None, None, table) for table in TABLES_OF_LOP3]
    return [(None,) * len(row.sources)]


def groups(rows):
    by_sources = {}
    for row in rows.values():
        if row.form in ("value", "move"):
            by_sources.setdefault(row.sources, []).extend((row, constants) for constants in instances(row))
    for sources, cases in sorted(by_sources.items()):
        for start in range(0, len(cases), CASES_PER_KERNEL):
            yield sources, cases[start:start + CASES_PER_KERNEL]


def kernel_of(name, sources, cases):
    """A kernel's text and the lines of its cases."""
    lines = []
    body = [text for i, t in enumerate(sources)
            for text in ptx_kernel.load_operand(t, i + 1 if t == "pred" else i + 10, 8 * i)]
    for index, (row, constants) in enumerate(cases):
        operands = [ptx_kernel.register(t, i + 1 if t == "pred" else i + 10) if constant is None else str(constant)
                    for i, (t, constant) in enumerate(zip(sources, constants))]
        result = 5 if row.result == "pred" else 16
        body.append(f"{row.opcode} {', '.join([ptx_kernel.register(row.result, result)] + operands)};")
        body += ptx_kernel.store_result(row.result, result, index * ptx_kernel.SLOTS * RESULT_BYTES)
        texts = ",".join("-" if constant is None else str(constant) for constant in constants)
        lines.append(f"{name} {index} {row.opcode} {row.result} {','.join(sources)} {texts}")
    return ptx_kernel.kernel(name, body, OPERAND_BYTES, RESULT_BYTES), lines


def modules(rows):
    texts, lines = [ptx_kernel.HEAD] * NUM_MODULES, [[] for _ in range(NUM_MODULES)]
    for number, (sources, cases) in enumerate(groups(rows)):
        text, found = kernel_of(f"value_{number}", sources, cases)
        texts[number % NUM_MODULES] += text
        lines[number % NUM_MODULES] += found
    for module in range(NUM_MODULES):
        yield f"values_{module}", texts[module], lines[module]
