// A sweep runs a load at one level after the other - requests per second, or streams at a time - and decides from what
// came which level is next. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

namespace latentd {

enum class SweepOver : uint8_t { kConcurrency, kRate };

struct SweepOptions {
  SweepOver over = SweepOver::kConcurrency;
  double low = 1.0;
  double high = 1024.0;
  std::optional<double> goodput_fraction = {};  // searches for the highest level with it, not for the knee
};

inline constexpr double kLevelSeconds = 10.0;  // of a level, unless the line bounds it

// "LOW:HIGH" into the options.
absl::Status ParseLevels(std::string_view text, SweepOptions& options);

struct LevelOutcome {
  double level = 0.0;
  double power = 0.0;    // completed requests per second over their mean latency
  double goodput = 0.0;  // the part of the requests that met their objectives
};

// The next level to run; none once the search is over. Levels double until it is clear that what is sought lies below;
// then what lies between is looked at.
//
// The knee is where Kleinrock's power is highest: below it more load buys throughput, above it latency. By Little's law
// that is where twice the load gives 1.4 times the throughput; an overloaded open loop has far less power.
std::optional<double> NextLevel(const std::vector<LevelOutcome>& outcomes, const SweepOptions& options);

// The index of what was sought; none where no level has the goodput, or there are no levels.
std::optional<size_t> FindBest(const std::vector<LevelOutcome>& outcomes, const SweepOptions& options);

}  // namespace latentd
