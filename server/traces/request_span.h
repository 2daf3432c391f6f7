// A request that ended, as a trace tells of it: when it got how far, what it asked for and how it ended; nothing of its
// prompt or its answer. A value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/status.h>

#include "base/clock.h"
#include "server/api/cause.h"

namespace latentd {

// As resolved by the server.
struct SpanChoices {
  int max_tokens = 0;
  int num_answers = 1;
  double temperature = 0.0;
  double top_p = 1.0;
  uint32_t top_k = 0;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  uint64_t seed = 0;
};

// What the engine did for it.
struct SpanRun {
  TimePoint first_scheduled = kNever;
  TimePoint first_token = kNever;
  TimePoint first_preempted = kNever;
  Duration preempted{};  // in all, of the answer that waited longest
  int num_preemptions = 0;
  int cached_tokens = 0;
  int output_tokens = 0;
};

struct RequestSpan {
  std::string method = {};
  std::string traceparent = {};  // the caller's; empty: it has none
  std::string request_id = {};
  std::string tenant = {};
  std::optional<int> prompt_tokens = {};
  std::optional<SpanChoices> choices = {};  // none: refused before they were known
  std::optional<SpanRun> run = {};          // none: the engine ran nothing
  TimePoint received{};
  TimePoint ended{};
  std::chrono::system_clock::time_point ended_at = {};  // the same moment
  absl::StatusCode code = absl::StatusCode::kOk;
  Cause cause = Cause::kAnswered;
};

// Whether a caller's trace, which is valid, is recorded. One without a trace begins a recorded one.
bool IsSampled(const std::string& traceparent);

}  // namespace latentd
