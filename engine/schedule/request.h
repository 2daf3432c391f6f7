// What a client asked for, after validation: a value that moves from the RPC into the engine's inbox.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace latentd {

// Names one request among all that this process ever admits. Assigned by EngineThread::NextSequenceId.
using SequenceId = uint64_t;

struct SamplingParameters {
  float temperature = 1.0f;  // 0 is greedy
  int top_k = 0;             // 0 is off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  std::vector<uint64_t> allowed = {};  // bitmap, kernels/id_bits.h; empty allows all
  uint64_t seed = 0;
};

struct StoppingParameters {
  int max_tokens = 0;
  int min_tokens = 0;                          // nothing ends the answer before so many tokens
  std::vector<std::string> stop_strings = {};  // found by the publisher, in text
  std::vector<int32_t> stop_token_ids = {};
  bool include_stop = false;  // keep the matched stop string or stop token's text in the output
  bool ignore_eos = false;
};

// Of a chat: what is parsed out of its answer, beside text, depends on what came before.
struct ChatAnswer {
  bool starts_in_reasoning = false;  // prompt or format say so
  int calls_before = 0;              // tool calls of the conversation so far
  bool has_calls = true;             // false: what looks like a call is text
};

enum class RequestKind : uint8_t { kGenerate, kScore };

struct Request {
  SequenceId id = 0;
  RequestKind kind = RequestKind::kGenerate;
  std::vector<int32_t> prompt = {};  // never empty
  SamplingParameters sampling = {};
  StoppingParameters stopping = {};
  std::optional<ChatAnswer> chat_answer = {};  // none: the answer is text as it comes
  bool prints_special_tokens = false;          // they are text as any other token; else they have none
  int num_top_logprobs = -1;                   // -1: none; 0..32: of each generated token and so many best ones
  int num_prompt_logprobs = -1;                // the same for each prompt position after the first (Score)
  TimePoint received{};
  TimePoint queue_deadline = kNever;  // must have run its first step by then
  TimePoint deadline = kNever;
};

}  // namespace latentd
