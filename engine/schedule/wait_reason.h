// Why sequences wait.
#pragma once

#include <array>
#include <cstdint>

namespace latentd {

// What a step had run out of when it left waiting sequences behind.
enum class WaitReason : uint8_t { kRows, kTokens, kBlocks, kLogits };
inline constexpr int kNumWaitReasons = 4;
using WaitCounts = std::array<uint64_t, kNumWaitReasons>;

}  // namespace latentd
