// Time as the engine sees it: handed in, or read from a Clock, so that a simulator can drive it.
#pragma once

#include <chrono>
#include <optional>

namespace latentd {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::nanoseconds;

inline constexpr TimePoint kNever = TimePoint::max();

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

inline double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }
// Nothing where one of them never happened.
inline std::optional<double> SecondsBetween(TimePoint from, TimePoint to) {
  if (from == kNever || to == kNever) return std::nullopt;
  return Seconds(to - from);
}
inline Duration FromSeconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace latentd
