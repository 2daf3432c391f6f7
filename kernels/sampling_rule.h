// How a request's tokens are chosen, in numbers: what a client asks for, what each of its logit rows is sampled by
// (docs/spec/api.md 1). A new number is declared here, and nowhere else between the request and the samplers.
#pragma once

#include <cstdint>

namespace latentd {

struct SamplingRule {
  float temperature = 1.0f;  // 0 is greedy, ties to the lower id
  int top_k = 0;             // 0 is off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float presence_penalty = 0.0f;    // of tokens generated so far
  float frequency_penalty = 0.0f;   // of tokens generated so far
  float repetition_penalty = 1.0f;  // of prompt and generated tokens
  uint64_t seed = 0;

  bool operator==(const SamplingRule&) const = default;

  // Whether these numbers change any logit before the choice.
  bool HasPenalties() const {
    return presence_penalty != 0.0f || frequency_penalty != 0.0f || repetition_penalty != 1.0f;
  }
  // Whether the choice may be another id than the likeliest of the raw logits.
  bool ChangesGreedyChoice() const {
    // The numbers that are copied say nothing to a greedy choice. Each other number, new ones included, keeps the
    // likeliest id only at its default.
    const SamplingRule greedy{.temperature = 0.0f, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = seed};
    return *this != greedy;
  }
};

// Added to the logit of one id.
struct TokenBias {
  int32_t id = 0;
  float bias = 0.0f;
  bool operator==(const TokenBias&) const = default;
};

}  // namespace latentd
