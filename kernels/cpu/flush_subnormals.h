// While one lives, this thread's vector arithmetic reads and writes subnormal numbers as zero, as the tile unit does.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace latentd::cpu {

#if defined(__SSE2__)
// What is to be computed so must be a call that the compiler cannot see through: it moves arithmetic past this.
class FlushSubnormals {
 public:
  FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;
  ~FlushSubnormals() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  const unsigned before_;
};
#else
class FlushSubnormals {};  // the kernels write the flush out
#endif

}  // namespace latentd::cpu
