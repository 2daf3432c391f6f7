// A clock that stands still until the test moves it.
#pragma once

#include <chrono>

#include "base/clock.h"

namespace latentd {

class ManualClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration duration) { now_ += duration; }

 private:
  TimePoint now_{std::chrono::seconds(1000)};
};

}  // namespace latentd
