"""Which number this toolkit gives to which instruction, learned from probes.cu.

A label's operation is what all probes with that instruction have and no other probe has. The numbers are documented
nowhere, so none is written down here: a toolkit that changes them teaches the new ones, and one whose probes leave room
for doubt is refused.
"""
import os
import pathlib
import shutil
import subprocess

import cubin

PROBES = pathlib.Path(__file__).with_name("probes.cu")
ARCHITECTURE = ["-gencode", "arch=compute_90a,code=sm_90a"]

# The labelled instructions that each probe has; all else in it is arithmetic that any kernel may have.
LABELS_OF_PROBE = {
    "probe_plain": "LDG STG MUFU",
    "probe_store": "STG",
    "probe_load_128": "LDG STG",
    "probe_load_64": "LDG STG",
    "probe_load_32": "LDG STG",
    "probe_load_only": "LDG RED.INT",
    "probe_shared_store_only": "STS",
    "probe_generic_load": "STG LD",
    "probe_generic_store": "ST",
    "probe_shared_128": "LDG STG LDS STS BAR",
    "probe_shared_32": "LDG STG LDS STS BAR",
    "probe_local": "LDG STG LDL STL",
    "probe_local_store": "STL",
    "probe_spill": "LDG STG LDL STL",
    "probe_copy_async": "STG LDS BAR LDGSTS",
    "probe_copy_wait": "LDG STG",
    "probe_load_matrix": "LDG STG STS BAR LDSM",
    "probe_mma_bf16": "LDG STG HMMA",
    "probe_mma_f16": "LDG STG HMMA",
    "probe_shuffle": "LDG STG SHFL",
    "probe_exp2": "LDG STG MUFU",
    "probe_double_add": "LDG STG DADD",
    "probe_double_multiply": "LDG STG DMUL",
    "probe_double_fma": "LDG STG DFMA",
    "probe_double_compare": "LDG STG DSETP",
    "probe_double_from_float": "LDG STG F2F.F64",
    "probe_double_to_float": "LDG STG F2F.F64",
    "probe_double_from_int": "LDG STG I2F.F64",
    "probe_double_to_int": "LDG STG F2I.F64",
    "probe_atomic_float": "RED.FLOAT",
    "probe_atomic_float_result": "STG ATOMG.FLOAT",
    "probe_atomic_int": "RED.INT",
    "probe_atomic_int_result": "STG ATOMG.INT",
    "probe_conversions": "LDG STG MUFU",
}
# Where a load's or store's width is learned: the probe, the label and the bits.
WIDTH_PROBES = [("probe_load_32", 32), ("probe_load_64", 64), ("probe_load_128", 128)]
WIDE_LABELS = {"LDG", "STG", "LDS", "STS", "LDL", "STL", "LD", "ST", "LDGSTS"}


def default_nvcc():
    return os.environ.get("LATENTD_NVCC") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"


class Opcodes:
    """Counts a kernel's labelled instructions: `LDG` is any global load, `LDG.128` one of 128 bits."""

    def __init__(self, operations, widths):
        self.operations = operations  # label: operation
        self.labels = {operation: label for label, operation in operations.items()}
        self.widths = widths  # field: bits

    def knows(self, label):
        name, _, bits = label.rpartition(".")
        return label in self.operations or (name in WIDE_LABELS and bits in map(str, self.widths.values()))

    def census(self, code):
        counts = {}
        for instruction in code.instructions:
            label = self.labels.get(instruction.operation)
            if label is None:
                continue
            counts[label] = counts.get(label, 0) + 1
            if label in WIDE_LABELS and instruction.width in self.widths:
                wide = f"{label}.{self.widths[instruction.width]}"
                counts[wide] = counts.get(wide, 0) + 1
        return counts


def operations_of(code):
    return {instruction.operation for instruction in code.instructions}


def learn_operations(probes):
    labels_of = {name: set(labels.split()) for name, labels in LABELS_OF_PROBE.items()}
    if set(probes) != set(labels_of):
        raise ValueError(f"probes.cu and its labels differ in {sorted(set(probes) ^ set(labels_of))}")
    operations = {}
    for label in sorted(set().union(*labels_of.values())):
        having = [operations_of(probes[name]) for name, labels in labels_of.items() if label in labels]
        others = [operations_of(probes[name]) for name, labels in labels_of.items() if label not in labels]
        candidates = set.intersection(*having) - set().union(*others)
        if len(candidates) != 1:
            raise ValueError(f"{label}: the probes leave {sorted(map(hex, candidates))}, expected one operation; "
                             "extend probes.cu")
        operations[label] = candidates.pop()
    return operations


def learn_widths(probes, load):
    widths = {}
    for name, bits in WIDTH_PROBES:
        fields = {i.width for i in probes[name].instructions if i.operation == load}
        if len(fields) != 1 or fields & set(widths):
            raise ValueError(f"{name}: width fields {sorted(fields)}, expected one that no other width has")
        widths[fields.pop()] = bits
    return widths


def compile_source(nvcc, source, folder):
    """Compiles one .cu as the build does; returns (cubin path, ptxas output)."""
    target = pathlib.Path(folder) / (pathlib.Path(source).stem + ".cubin")
    command = [nvcc, "-std=c++20", "-O3", "-lineinfo", *ARCHITECTURE, "-Xptxas", "-v", "-cubin", "-o", str(target),
               str(source)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"{source}: nvcc refused it:\n{run.stderr}")
    return target, run.stdout + run.stderr


def learn_from(probes):
    """Opcodes from the probes' KernelCode by name."""
    operations = learn_operations(probes)
    return Opcodes(operations, learn_widths(probes, operations["LDG"]))


def learn(nvcc, folder):
    path, _ = compile_source(nvcc, PROBES, folder)
    return learn_from(cubin.read_kernels(path))
