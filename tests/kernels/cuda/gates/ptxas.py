"""The output of `ptxas -v`: registers, stack, spills and static shared memory of each function, and its warnings."""
import dataclasses
import re

ENTRY = re.compile(r"Compiling entry function '([^']+)'")
PROPERTIES = re.compile(r"Function properties for (\S+)")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
# A performance loss (C7510 and its like) is an `info` to ptxas.
COMPLAINT = re.compile(r"\b(warning|error)\b|Potential Performance Loss|\(C\d{4}\)")


@dataclasses.dataclass
class FunctionUse:
    symbol: str
    is_kernel: bool
    stack_bytes: int | None = None
    spill_store_bytes: int | None = None
    spill_load_bytes: int | None = None
    registers: int | None = None
    shared_bytes: int = 0  # static


def parse(text):
    """([FunctionUse], [complaint]) of one source's output."""
    functions, complaints, entry, current = {}, [], None, None
    for line in text.splitlines():
        if COMPLAINT.search(line):
            complaints.append(line.strip())
        elif match := ENTRY.search(line):
            entry = functions.setdefault(match[1], FunctionUse(match[1], is_kernel=True))
        elif match := PROPERTIES.search(line):
            current = functions.setdefault(match[1], FunctionUse(match[1], is_kernel=False))
        elif (match := STACK.search(line)) and current:
            current.stack_bytes, current.spill_store_bytes, current.spill_load_bytes = map(int, match.groups())
        elif (match := USED.search(line)) and entry:
            entry.registers = int(match[1])
            shared = SHARED.search(line)
            entry.shared_bytes = int(shared[1]) if shared else 0
    return list(functions.values()), complaints
