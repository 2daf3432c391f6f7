// The outcome of one request, seen from the client. Moments are nanoseconds from the start of the run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <grpcpp/support/status.h>

#include "latentd/v1/generation.pb.h"
#include "tools/load/token_times.h"
#include "tools/load/workload.h"

namespace latentd {

struct RequestRecord {
  uint64_t index = 0;
  int64_t intended = 0;  // in a closed loop: as sent
  int64_t sent = 0;
  int64_t first_token = kNotReached;  // of any of its answers
  int64_t second_token = kNotReached;
  int64_t ended = 0;

  uint32_t tenant = 0;         // in the workload's tenants; beyond them: an adversary's
  uint32_t prompt_ids = 0;     // as sent; 0 of a text
  uint32_t prompt_tokens = 0;  // as Started says; 0 where it never came, like the next
  uint32_t cached_tokens = 0;  // of the prompt's
  uint32_t output_tokens = 0;  // that the client saw, in all answers
  uint32_t max_tokens = 0;     // that the server could have generated
  int64_t between_tokens = 0;  // from the first token of an answer to its last, of all answers together
  uint32_t num_gaps = 0;       // between two tokens of an answer
  double queue_seconds = 0.0;  // this and the next four from Completed
  double prefill_seconds = 0.0;
  double decode_seconds = 0.0;
  uint32_t drafted_tokens = 0;
  uint32_t accepted_tokens = 0;

  Behaviour behaviour = Behaviour::kWell;
  bool may_be_refused = false;  // as the mix has it
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  std::string reason;             // from ErrorInfo, or why a success ended
  std::string message;            // of a failure
  std::string grammar_violation;  // empty: none
  bool was_admitted = false;      // the server said so: initial metadata or an event came
  bool was_answered = false;      // by the server, refusals included
  bool was_interrupted = false;   // cancelled because the user ended the run

  bool succeeded() const { return code == grpc::StatusCode::OK; }
  int64_t lag() const { return sent - intended; }
};

// An end that the request's behaviour allows, or the user's interruption.
bool EndedAsExpected(const RequestRecord& record);

// "EOS", "MAX_TOKENS", …
std::string NameOf(v1::EndReason reason);

struct KeptAnswer {
  std::string text;
  std::vector<uint32_t> token_ids;
};

// The output of one request, to be compared with a quiet run.
struct KeptOutput {
  uint64_t index = 0;
  std::vector<uint32_t> history;    // of the request
  std::vector<KeptAnswer> answers;  // by their index
  bool is_whole = false;            // else a prefix: cancelled or expired
};

}  // namespace latentd
