// The line on stderr that shows how a run goes, where stderr is a terminal.
#pragma once

#include <cstdint>

#include "tools/load/run_state.h"

namespace latentd {

class ProgressLine {
 public:
  static bool IsWanted();

  void Show(const RunState& state);
  // Leaves no trace of it.
  void Clear() const;

 private:
  uint64_t last_tokens_ = 0;
  int64_t last_moment_ = 0;
};

}  // namespace latentd
