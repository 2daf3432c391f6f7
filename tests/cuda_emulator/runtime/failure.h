// The one way the emulator ends a run: a line on stderr and exit code 99. Fail itself is declared in device_api.h.
#pragma once

#include "tests/cuda_emulator/runtime/device_api.h"

namespace cuda_emulator {

inline constexpr int kFailureExitCode = 99;

// Faults of a kernel (plain modules check no addresses) become a failure of kind "fault". Once per process.
void CatchFaults();

}  // namespace cuda_emulator
