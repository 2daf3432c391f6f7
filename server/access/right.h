// What a credential lets its holder do, and where it is asked for. Constant.
#pragma once

#include <cstdint>
#include <string_view>

namespace latentd {

// A set of rights, as bits.
using Rights = uint8_t;
inline constexpr Rights kMayGenerate = 1 << 0;    // Generation
inline constexpr Rights kMayAdminister = 1 << 1;  // Admin
inline constexpr Rights kMayScrape = 1 << 2;      // /metrics
inline constexpr Rights kAnyRight = kMayGenerate | kMayAdminister | kMayScrape;

struct RightName {
  Rights right;
  std::string_view name;
};
// As files and messages spell them.
inline constexpr RightName kRightNames[] = {
    {kMayGenerate, "generate"}, {kMayAdminister, "admin"}, {kMayScrape, "metrics"}};

// Which listener asks; in the order of the metric's label.
enum class AccessPoint : uint8_t { kApi, kAdmin, kMetrics };
inline constexpr int kNumAccessPoints = 3;

}  // namespace latentd
