// What a client asked for, after validation, in parts by who follows them: a value that moves from the RPC into the
// engine's inbox.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kernels/sampling_rule.h"

namespace latentd {

// Names one request among all that this process ever admits: what server, streams, inbox and publisher know it by.
// Assigned by EngineThread::NextRequestId.
using RequestId = uint64_t;

// Names one of a request's sequences, 0 to num_sequences - 1: what the scheduler and its steps know.
struct SequenceId {
  RequestId request = 0;
  int32_t index = 0;
  auto operator<=>(const SequenceId&) const = default;
};

// When its sequences end. The engine follows all but the stop strings.
struct StoppingRule {
  int max_tokens = 0;
  int min_tokens = 0;                          // nothing ends the answer before so many tokens
  std::vector<std::string> stop_strings = {};  // found by the publisher, in text
  std::vector<int32_t> stop_token_ids = {};
  bool include_stop = false;  // keep the matched stop string or stop token's text in the output
  bool ignore_eos = false;
  bool operator==(const StoppingRule&) const = default;
};

// How a chat's answer is parsed: what else than text is in it depends on what came before.
struct ChatAnswer {
  bool starts_in_reasoning = false;  // prompt or format say so
  int calls_before = 0;              // tool calls of the conversation so far
  bool has_calls = true;             // false: what looks like a call is text
};

// How its tokens are reported.
struct AnswerRule {
  std::optional<ChatAnswer> chat = {};  // none: the answer is text as it comes
  bool prints_special_tokens = false;   // they are text as any other token; else they have none
  int num_top_logprobs = -1;            // -1: none; 0..32: of each generated token and so many best ones
  int num_prompt_logprobs = -1;         // the same for each prompt position after the first (Score)
};

// What it shares with others in the prefix cache.
struct CacheRule {
  std::string salt = {};      // only requests of one tenant with equal salts share
  bool reads = true;          // else it computes its whole prompt
  bool stores = true;         // else it leaves nothing behind
  double keep_seconds = 0.0;  // what it leaves is evicted after all that is not kept
  bool operator==(const CacheRule&) const = default;
};

// Its place among others.
struct SchedulingRule {
  std::string tenant = {};            // who shares the engine's time and the cache; empty: those without a name
  std::string client = {};            // its connection: shares the engine's time where no tenant is named
  int priority = 0;                   // kLowestPriority to kHighestPriority: higher runs first
  TimePoint first_token_by = kNever;  // it ends once that cannot be met any more
  bool operator==(const SchedulingRule&) const = default;
};
inline constexpr int kLowestPriority = -8, kHighestPriority = 8;

// How many tokens are drafted behind each that is generated: so many, or as many as pay. No byte depends on it.
inline constexpr int kAutoDrafts = -1, kMaxDrafts = 8;

enum class RequestKind : uint8_t { kGenerate, kScore };

struct Request {
  RequestId id = 0;
  RequestKind kind = RequestKind::kGenerate;
  std::vector<int32_t> prompt = {};  // never empty
  SamplingRule sampling = {};
  std::vector<TokenBias> logit_bias = {};  // by id
  std::vector<uint64_t> allowed = {};      // bitmap, kernels/id_bits.h; empty allows all
  StoppingRule stopping = {};
  AnswerRule answer = {};
  CacheRule cache = {};
  SchedulingRule scheduling = {};
  int num_sequences = 1;         // independent continuations of the prompt
  int max_drafts = kAutoDrafts;  // 0: none
  TimePoint received{};
  TimePoint queue_deadline = kNever;  // must have run its first step by then
  TimePoint deadline = kNever;
};

}  // namespace latentd
