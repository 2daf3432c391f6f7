// The largest single allocation that the process has made since the last reset: proof that a lying length in a file
// never becomes a request for memory. Replaces the global operator new of the test program.
#pragma once

#include <cstddef>

namespace latentd {

void ResetLargestAllocation();
size_t LargestAllocation();  // in bytes

}  // namespace latentd
