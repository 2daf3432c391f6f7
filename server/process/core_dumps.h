// Whether a crash may leave the process's memory on a disk: requests and answers are in it. Weights and caches never
// are (MADV_DONTDUMP where they are mapped). Called once, by main, before threads start.
#pragma once

#include <cstdint>

namespace latentd {

enum class CoreDumps : uint8_t {
  kOff,  // none; and one that the kernel pipes to a program, which no limit stops, holds no memory
  kOn,   // as large as the hard limit allows
};

void SetCoreDumps(CoreDumps core_dumps);

}  // namespace latentd
