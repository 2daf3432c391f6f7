// One line in the log for each RPC that ended, refused ones included. Called by the threads that end RPCs, never by
// the engine's; they pay for the rendering, the logger's thread writes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "server/call/call_origin.h"

namespace latentd {

// What the log knows of an RPC beyond its outcome. Seconds count from its arrival, but for decode's.
struct CallFacts {
  std::string request_id = {};  // empty: it never got one
  std::string tenant = {};      // empty: it named none
  std::optional<int> prompt_tokens = {};
  std::optional<int> generated_tokens = {};   // in all of its answers
  int drafted_tokens = 0;                     // in all of its answers, too; logged with the next where there are any
  int accepted_tokens = 0;                    // of these
  int num_answers = 1;                        // logged where there are several
  std::optional<double> queue_seconds = {};   // to the first step
  std::optional<double> ttft_seconds = {};    // to the first token
  std::optional<double> decode_seconds = {};  // from the first token to the last
};

struct FinishedCall {
  std::string_view method;
  const CallOrigin& origin;
  const CallFacts& facts;
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string_view reason;
  double total_seconds = 0.0;
};

// The model that every line names. Before the first RPC.
void NameModelInRequestLog(const std::string& model);
// OK and what the client caused: info. What another client or the server's limits caused, RESOURCE_EXHAUSTED and
// UNAVAILABLE: warning. What must never happen, INTERNAL, DATA_LOSS and UNKNOWN: error.
void LogFinishedCall(const FinishedCall& call);

}  // namespace latentd
