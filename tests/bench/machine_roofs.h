// The ceilings of this machine, which benchmarks print beside their numbers, measured in the same run.
#pragma once

namespace latentd {

// fp32 fused multiply-adds from registers, counted as two operations each, in flop/s.
double MeasureFmaPeak(int num_threads);

// Reading a buffer too large for any cache, four streams per thread, in bytes/s.
double MeasureReadBandwidth(int num_threads);

}  // namespace latentd
