// The ceilings of this machine, which benchmarks print beside their numbers, measured in the same run.
#pragma once

#include <vector>

namespace latentd {

struct Roofs {
  int threads = 0;
  double read = 0.0;   // bytes/s: a buffer too large for any cache, in huge pages where the kernel gives them
  int streams = 0;     // that each thread read at once when it was fastest
  double fma = 0.0;    // flop/s: fp32 fused multiply-adds from registers, two operations each
  double tiles = 0.0;  // flop/s: bf16 products of AMX tiles from registers; 0: there are none
};

Roofs MeasureRoofs(int num_threads);

// 1, 2, 4 … and max_threads itself.
std::vector<int> ThreadCounts(int max_threads);

}  // namespace latentd
