"""The whole opcode table."""
import opcodes_convert
import opcodes_float
import opcodes_integer
import opcodes_memory
import opcodes_thread


def table():
    """Complete opcode -> its row."""
    rows = {}
    for part in (opcodes_integer, opcodes_float, opcodes_convert, opcodes_memory, opcodes_thread):
        for row in part.rows():
            if row.opcode in rows:
                raise ValueError(f"two rows of {row.opcode}")
            rows[row.opcode] = row
    return rows


def refusal(opcode, rows):
    """Why an opcode isn't translated, or nothing."""
    row = rows.get(opcode)
    if row:
        return row.reason
    for family in opcodes_thread.REFUSED_FAMILIES:
        if opcode.startswith(family.opcode):
            return family.reason
    return "not in the opcode table"
