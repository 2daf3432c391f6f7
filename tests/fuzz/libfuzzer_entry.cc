// Makes one target a libFuzzer program: FUZZ_TARGET names its function.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t num_bytes) {
  latentd::FUZZ_TARGET({reinterpret_cast<const char*>(bytes), num_bytes});
  return 0;
}
