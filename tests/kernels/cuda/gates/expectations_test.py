#!/usr/bin/env python3
"""expected.toml's figures of V2-Lite and the machine agree with those known from elsewhere."""
import pathlib
import re
import subprocess
import tempfile
import unittest

import occupancy
import opcodes
from expectations import Expectations

ROOT = pathlib.Path(__file__).resolve().parents[4]
CUDA_INCLUDE = pathlib.Path(opcodes.default_nvcc()).resolve().parents[1] / "include"
OCCUPANCY_SOURCE = r"""
#include <cstdio>
#include <cuda_occupancy.h>
int main() {
  cudaOccDeviceProp device;
  device.computeMajor = 9, device.computeMinor = 0, device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = 2048, device.regsPerBlock = 65536, device.regsPerMultiprocessor = 65536;
  device.warpSize = 32, device.sharedMemPerBlock = 49152, device.sharedMemPerMultiprocessor = 233472;
  device.numSms = 132, device.sharedMemPerBlockOptin = 232448, device.reservedSharedMemPerBlock = 1024;
  cudaOccDeviceState state;
  state.cacheConfig = CACHE_PREFER_NONE, state.carveoutConfig = 100;
  int threads, registers, shared;
  while (std::scanf("%d %d %d", &threads, &registers, &shared) == 3) {
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = threads, kernel.numRegs = registers, kernel.sharedSizeBytes = 0;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF, kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    kernel.maxDynamicSharedSizeBytes = shared, kernel.numBlockBarriers = 1;
    cudaOccResult result;
    const int error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, shared);
    std::printf("%d\n", error == 0 ? result.activeBlocksPerMultiprocessor : -error);
  }
}
"""


class Occupancy(unittest.TestCase):
    def test_blocks_are_those_of_cuda_s_own_header(self):
        uses = [occupancy.BlockUse(threads, registers, shared)
                for threads in (32, 96, 128, 160, 256, 384, 1000, 1024)
                for registers in (16, 24, 32, 33, 48, 64, 65, 96, 128, 168, 200, 255)
                for shared in (0, 1, 1024, 8192, 16384, 40000, 65536, 115712, 115713, 186880, 232448)]
        with tempfile.TemporaryDirectory() as folder:
            source, program = pathlib.Path(folder) / "occupancy.cc", pathlib.Path(folder) / "occupancy"
            source.write_text(OCCUPANCY_SOURCE)
            subprocess.run(["g++", "-O1", "-w", f"-I{CUDA_INCLUDE}", str(source), "-o", str(program)], check=True)
            cases = "".join(f"{use.threads} {use.registers} {use.shared_bytes}\n" for use in uses)
            run = subprocess.run([str(program)], input=cases, capture_output=True, text=True, check=True)
        for use, blocks in zip(uses, run.stdout.split(), strict=True):
            self.assertEqual(use.blocks(), int(blocks), use)


class RealExpectations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expectations = Expectations(ROOT / "kernels/cuda/expected.toml")

    def works(self, scenario_name, weights):
        scenario = next(s for s in self.expectations.scenarios if s["name"] == scenario_name)
        quantities = self.expectations.quantities(scenario, weights)
        return {launch["verb"]: self.expectations.work(launch, quantities) for launch in self.expectations.launches}

    def tokens_per_second(self, scenario_name, weights, tokens):
        return tokens / sum(work.seconds for work in self.works(scenario_name, weights).values())

    def test_every_formula_has_a_value(self):
        for scenario in self.expectations.scenarios:
            for weights in self.expectations.weights:
                works = self.works(scenario["name"], weights)
                for verb, work in works.items():
                    self.assertEqual(work.seconds > 0, work.launches >= 1, verb)
                # What fills codes has no part in a bf16 step, what splits inputs for FP8 weights none in the other.
                self.assertGreater(sum(work.launches > 0 for work in works.values()), 0.6 * len(works))

    def test_bf16_rates_agree_with_the_independent_model(self):
        # Counted from the model alone: parameters read once, the cache, no activations.
        for name, tokens, known in (("1 at 1k", 1, 680), ("64 at 1k", 64, 6502), ("1 at 4k", 1, 667),
                                    ("64 at 4k", 64, 5485)):
            rate = self.tokens_per_second(name, "bf16", tokens)
            self.assertLess(rate, known * 1.001, name)
            self.assertGreater(rate, known * 0.93, name)

    def test_a_full_step_reads_the_whole_model_once(self):
        scenario, sizes = self.expectations.scenarios[-1], self.expectations.data["model"]["sizes"]
        named = self.expectations.quantities(scenario, "bf16")
        without = named | {"weight_bytes": 0, "head_planes": 0}
        read = sum(self.expectations.work(launch, named).bytes - self.expectations.work(launch, without).bytes
                   for launch in self.expectations.launches)
        always_bf16 = 2 * sizes["hidden"] * (sizes["vocab"] + named["moe_layers"] * sizes["experts"])  # head, routers
        embedding = sizes["hidden"] * sizes["vocab"]  # read but for a few rows
        self.assertAlmostEqual(((read + always_bf16) / 2 + embedding) / 15.7e9, 1, delta=0.005)

    def test_enumerators_are_those_of_the_source(self):
        text = (ROOT / "kernels/tensor.h").read_text()
        for number, name in self.expectations.data["enumerators"].items():
            enum, index = re.fullmatch(r"\((\w+)\)(\d+)", number).groups()
            names = re.search(rf"enum class {enum}\b[^{{]*\{{([^}}]*)\}}", text)[1]
            listed = [n.split("=")[0].strip() for n in re.sub(r"//[^\n]*", "", names).split(",") if n.strip()]
            self.assertEqual(listed[int(index)], name)


if __name__ == "__main__":
    unittest.main()
