// One step's inputs as plain data: what the rows are, where their tokens go, which of them are sampled and how.
// Built by engine/batch_builder, read by the model and the verbs. A row is one sequence's share of the step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace latentd {

struct BatchRow {
  int first_token = 0;  // its tokens are [first_token, first_token + num_tokens) of the step
  int num_tokens = 0;
  int first_position = 0;  // absolute position of its first token; the cache already holds all positions before
  int first_block = 0;     // its block table is blocks[first_block …], long enough for its last position
};

struct BatchInputs {
  std::vector<int32_t> token_ids;  // [tokens]
  std::vector<int32_t> positions;  // [tokens]
  std::vector<int32_t> slots;      // [tokens]: block * kBlockSlots + offset, where the token's latent goes
  std::vector<BatchRow> rows;
  std::vector<int32_t> blocks;        // the rows' block tables, one after the other
  std::vector<int32_t> logit_tokens;  // tokens whose logits are wanted, ascending

  int num_tokens() const { return static_cast<int>(token_ids.size()); }
};

struct TokenBias {
  int32_t id = 0;
  float bias = 0.0f;
};

// How one row of logits becomes a token (spec api.md 1). Lists are borrowed for the step.
struct SampleRow {
  float temperature = 1.0f;  // 0 is greedy, ties to the lower id
  int top_k = 0;             // 0 is off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float presence_penalty = 0.0f;    // of tokens generated so far
  float frequency_penalty = 0.0f;   // of tokens generated so far
  float repetition_penalty = 1.0f;  // of prompt and generated tokens
  uint64_t seed = 0;
  uint32_t index = 0;                    // which of the request's sequences
  uint32_t position = 0;                 // absolute position of the token being sampled
  std::span<const int32_t> tokens = {};  // prompt, then generated tokens; read only where a penalty is on
  int num_prompt_tokens = 0;
  std::span<const TokenBias> logit_bias = {};
  std::span<const int32_t> allowed_ids = {};  // empty allows all
  std::span<const uint8_t> has_token = {};    // [vocab]: 0 for ids that stand for nothing, never drawn; empty: none
  std::span<const int32_t> banned_ids = {};   // end and stop tokens before min_tokens
  int32_t scored_id = -1;                     // ≥ 0: draw nothing, report this id's log-probability
  int num_top_logprobs = -1;                  // -1: no log-probabilities at all; else 0..32 best ids as well
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0.0f;
};

struct SampleResult {
  int32_t id = -1;
  bool finite = true;             // false: the logits held a NaN or an infinity, or masks left nothing; id is -1
  float logprob = 0.0f;           // of id in the raw distribution, natural logarithm
  float sampled_logprob = 0.0f;   // of id in the distribution that was drawn from; 0 if nothing was
  std::vector<TokenLogprob> top;  // best ids of the raw distribution, descending, ties to the lower id
};

}  // namespace latentd
