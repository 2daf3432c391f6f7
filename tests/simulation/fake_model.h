// The model of the simulation, as pure functions: the token that follows is a function of all tokens before it, their
// positions, the seed and the sequence's index; so is each log-probability.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/schedule/finish_reason.h"

namespace latentd::simulation {

// Ids of small_tokenizer.h: a few bytes, so that short stop strings are found often, and three tokens of more.
inline constexpr std::array<int32_t, 12> kAlphabet = {'a', 'b', 'c', 'd', 'e', 'h', 'l', 'o', ' ', 256, 257, 258};
inline constexpr int32_t kEndOfText = 300;  // drawn once in kTokensPerEnd
inline constexpr int kTokensPerEnd = 100;

std::string TextOf(int32_t id);

uint64_t Extend(uint64_t prefix, int32_t token, int position);

// What decides the token after `prefix`.
struct Draw {
  uint64_t prefix = 0;
  uint64_t seed = 0;
  uint32_t index = 0;
  int position = 0;  // of the token that is drawn
  std::span<const int32_t> banned = {};
};
int32_t TokenOf(const Draw& draw);
float LogprobOf(uint64_t prefix, int32_t id);

// What one sequence gives when nothing disturbs it, worked out without engine, scheduler, publisher or stream.
struct QuietRun {
  std::vector<int32_t> tokens;  // that the client gets; of a Score the prompt after its first token
  std::vector<float> logprobs;  // of the same
  std::string text;
  FinishReason reason = FinishReason::kScored;
  std::string stop_string;
  // The engine's part, which does not know the text.
  std::vector<int32_t> generated;
  std::vector<uint64_t> prefixes;  // of prompt and generated, each up to and with its position: what a slot must hold
  FinishReason engine_reason = FinishReason::kScored;
};

// The continuation `index` of the request's prompt.
QuietRun RunQuietly(const Request& request, int index, int max_context_tokens);
// The text of an answer that something else ended after its first tokens.
std::string TextOfFirst(const Request& request, std::span<const int32_t> tokens);

}  // namespace latentd::simulation
