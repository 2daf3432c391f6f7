// Records of requests as a run would make them. Moments in milliseconds, which reads better than nine zeros.
#pragma once

#include <cstdint>

#include "tools/load/request_record.h"

namespace latentd {

inline constexpr int64_t kMillisecond = 1'000'000;

struct Moments {
  int64_t intended = 0;
  int64_t first_token = kNotReached;
  int64_t ended = 0;
};

// A success of `tokens` tokens, the last of which came at its end.
inline RequestRecord Succeeded(Moments ms, uint32_t tokens) {
  RequestRecord record;
  record.intended = record.sent = ms.intended * kMillisecond;
  record.first_token = ms.first_token * kMillisecond;
  record.second_token = record.ended = ms.ended * kMillisecond;
  record.between_tokens = record.ended - record.first_token;
  record.num_gaps = tokens - 1;
  record.prompt_tokens = 10;
  record.output_tokens = record.max_tokens = tokens;
  record.code = grpc::StatusCode::OK;
  record.reason = "MAX_TOKENS";
  record.was_admitted = record.was_answered = true;
  return record;
}

inline RequestRecord Failed(grpc::StatusCode code, const char* reason, Behaviour behaviour = Behaviour::kWell) {
  RequestRecord record;
  record.max_tokens = 20;
  record.code = code;
  record.reason = reason;
  record.behaviour = behaviour;
  return record;
}

}  // namespace latentd
