// AttendLatent over caches of each format: steps that decode, and a prompt's last stretch.
#pragma once

#include "kernels/ops.h"
#include "tests/bench/kernel_bench.h"

namespace latentd {

void BenchAttend(const KernelBench& options, StepLimits limits, Report& report);

}  // namespace latentd
