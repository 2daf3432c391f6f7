// Every verb alone, on the sizes of one layer, with weights and latents that no cache holds between calls.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/bench_shape.h"
#include "tests/bench/report.h"

namespace latentd {

struct KernelBench {
  BenchShape shape = {};
  int threads = 1;
  ActivationFormat activations = ActivationFormat::kF32;
  std::string only = {};                // of the figures those whose names hold it; empty: all
  size_t cold_bytes = size_t{1} << 30;  // of the copies of a weight, or of the caches, that take turns
  double seconds = 0.2;                 // of a round
  int rounds = 3;                       // the best median counts: what else runs on the machine only adds
  std::vector<int> rows = {1, 2, 4, 8, 16, 32, 128, 512};
  std::vector<int> contexts = {64, 1024, 8192};
};

void RunKernelBench(const KernelBench& options, Report& report);

}  // namespace latentd
