// When a running engine checks its invariants: as often as costs at most 1 % of its time. Pure; one thread.
#pragma once

#include "base/clock.h"

namespace latentd {

class InvariantWatch {
 public:
  bool IsDue(TimePoint now) const { return now >= due_; }
  // The next one is due when kPause times as long has passed as this one took.
  void Checked(TimePoint began, TimePoint ended) { due_ = ended + (ended - began) * kPause; }

 private:
  static constexpr int kPause = 100;

  TimePoint due_{};  // the first one at once
};

}  // namespace latentd
