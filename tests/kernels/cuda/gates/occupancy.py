"""How many blocks of a kernel an sm_90 multiprocessor holds, by the rules of CUDA's cuda_occupancy.h.

kernel_gates_test.py compares this with the header itself.
"""
import dataclasses

WARP_THREADS = 32
MAX_WARPS = 64
MAX_BLOCKS = 32
MAX_BLOCK_THREADS = 1024
REGISTERS = 65_536  # of a multiprocessor, and most that a block may have
WARP_REGISTER_UNIT = 256
SUB_PARTITIONS = 4
SHARED_BYTES = 233_472
MAX_BLOCK_SHARED_BYTES = 232_448
RESERVED_SHARED_BYTES = 1024  # of each block
SHARED_UNIT = 128


def round_up(value, unit):
    return -(-value // unit) * unit


@dataclasses.dataclass(frozen=True)
class BlockUse:
    threads: int
    registers: int  # per thread
    shared_bytes: int  # static and dynamic

    @property
    def warps(self):
        return -(-self.threads // WARP_THREADS)

    @property
    def warp_registers(self):
        return round_up(self.registers * WARP_THREADS, WARP_REGISTER_UNIT)

    @property
    def block_registers(self):
        """As the launch is checked: warps are taken to fill all four sub-partitions alike."""
        return self.warp_registers * round_up(self.warps, SUB_PARTITIONS)

    def limits(self):
        """{what limits: blocks}."""
        by_registers = 0
        if self.block_registers <= REGISTERS:
            warps = REGISTERS // SUB_PARTITIONS // self.warp_registers * SUB_PARTITIONS
            by_registers = warps // self.warps
        by_shared = 0
        if self.shared_bytes <= MAX_BLOCK_SHARED_BYTES:
            by_shared = SHARED_BYTES // round_up(self.shared_bytes + RESERVED_SHARED_BYTES, SHARED_UNIT)
        by_threads = MAX_WARPS // self.warps if self.threads <= MAX_BLOCK_THREADS else 0
        return {"registers": by_registers, "shared memory": by_shared, "threads": by_threads, "blocks": MAX_BLOCKS}

    def blocks(self):
        return min(self.limits().values())

    def limited_by(self):
        limits = self.limits()
        return next(name for name, blocks in limits.items() if blocks == self.blocks())
