// PTX's votes, reductions of a warp and special registers, for translated kernels. Stateless: asks the runtime.
#pragma once

#include <cstdint>

#include "tests/cuda_emulator/ptx_memory.h"
#include "tests/cuda_emulator/runtime/device_api.h"

namespace cuda_emulator::ptx {

inline bool IsShared(uint64_t address) { return IsSharedAddress(Pointer(address)); }

inline bool VoteAny(bool predicate, uint32_t mask, const void* site, Where where) {
  return Ballot(predicate, mask, site, where) != 0;
}
inline bool VoteAll(bool predicate, uint32_t mask, const void* site, Where where) {
  return Ballot(predicate, mask, site, where) == mask;
}
inline bool VoteUni(bool predicate, uint32_t mask, const void* site, Where where) {
  const uint32_t votes = Ballot(predicate, mask, site, where);
  return votes == 0 || votes == mask;
}

// redux.sync over the lanes of the mask.
template <Atomic kOperation, typename T>
T Reduce(T operand, uint32_t mask, const void* site, Where where) {
  T all[32];
  WarpExchange(mask, site, &operand, sizeof operand, all, where);
  bool is_first = true;
  T result{};
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    result = is_first ? all[lane] : Combine<kOperation>(result, all[lane]);
    is_first = false;
  }
  return result;
}

inline uint32_t LaneMaskEq() { return 1u << current_thread->lane; }
inline uint32_t LaneMaskLt() { return LaneMaskEq() - 1; }
inline uint32_t LaneMaskLe() { return LaneMaskEq() | LaneMaskLt(); }
inline uint32_t LaneMaskGt() { return ~LaneMaskLe(); }
inline uint32_t LaneMaskGe() { return ~LaneMaskLt(); }

}  // namespace cuda_emulator::ptx
