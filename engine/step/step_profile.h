// A few steps by op, as a Chrome trace: what chrome://tracing and ui.perfetto.dev show. Any thread, one at a time; the
// engine computes the steps meanwhile and waits for none of it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/profiled_ops.h"

namespace latentd {

inline constexpr int kMostProfiledSteps = 100;  // of 61 layers: 20 MB of trace

class StepProfile {
 public:
  // The next steps that are computed are recorded. `ops` must outlive it.
  StepProfile(ProfiledOps& ops, int num_steps) : ops_(ops), num_steps_(num_steps), recording_(ops.Record(num_steps)) {}

  // Nothing until the steps were computed. While another profile is taken, this one waits for its end.
  std::optional<std::string> Trace();
  // Those that were computed so far.
  std::span<const ProfiledStep> steps() const {
    return recording_ != nullptr ? recording_->steps() : std::span<const ProfiledStep>();
  }

 private:
  ProfiledOps& ops_;
  const int num_steps_;
  std::shared_ptr<const ProfileRecording> recording_;  // null: another one is under way
};

inline constexpr std::string_view kTraceStart = R"({"displayTimeUnit": "ns", "traceEvents": [)";  // of every trace

// An event "step" or "draft" for each, and within it one for each call of a verb, with its layer, rows, bytes, FLOPs
// and rates.
std::string ChromeTrace(std::span<const ProfiledStep> steps);

}  // namespace latentd
