// One step's inputs: the rows, the places of their tokens, which tokens are sampled and how. A row is one
// sequence's share of the step. Built on the host by engine/step/batch_builder (BatchInputs); Ops::Upload makes of it
// what the verbs read (Batch).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling_rule.h"

namespace latentd {

struct BatchRow {
  int first_token = 0;  // its tokens are [first_token, first_token + num_tokens) of the step
  int num_tokens = 0;
  int first_position = 0;  // absolute position of its first token; the cache already holds all positions before
  int first_block = 0;     // its block table is blocks[first_block …], long enough for its last position
  int first_key = 0;       // positions before it are not there: attention goes from here on; at most first_position
};

inline constexpr int32_t kNoSlot = -1;  // of a token that only fills up a step: its latent is stored nowhere

// Slots that a layer's latents are copied between before the step writes any: [from, from + count) to `to` on.
struct SlotCopy {
  int32_t from = 0;
  int32_t to = 0;
  int32_t count = 0;
};

struct BatchInputs {
  std::vector<SlotCopy> copies;     // in this order, in every layer
  std::vector<int32_t> token_ids;   // [tokens]
  std::vector<int32_t> positions;   // [tokens]
  std::vector<int32_t> slots;       // [tokens]: block * kBlockSlots + offset, where the token's latent goes, or kNoSlot
  std::vector<int32_t> token_rows;  // [tokens]: index of the token's row
  std::vector<BatchRow> rows;
  std::vector<int32_t> blocks;        // the rows' block tables, one after the other
  std::vector<int32_t> logit_tokens;  // tokens whose logits are wanted, ascending
  // [tokens] of a layer that predicts further tokens: the row of the hidden states that each token stands behind; else
  // empty.
  std::vector<int32_t> hidden_rows;

  int num_tokens() const { return static_cast<int>(token_ids.size()); }
  // Keys that the step's last token of any row may see, itself included.
  int max_context() const {
    int longest = 0;
    for (const BatchRow& row : rows) longest = std::max(longest, row.first_position + row.num_tokens);
    return longest;
  }
};

// How one row of logits becomes a token (docs/spec/api.md 1). Lists are borrowed for the step.
struct SampleRow {
  SamplingRule rule = {};
  uint32_t index = 0;                     // which of the request's sequences
  uint32_t position = 0;                  // absolute position of the token being sampled
  std::span<const int32_t> tokens = {};   // prompt, then generated tokens; read only where a penalty is on
  std::span<const int32_t> further = {};  // the same, behind them: those of a draft that nothing has made tokens yet
  int num_prompt_tokens = 0;
  std::span<const TokenBias> logit_bias = {};
  std::span<const uint64_t> allowed = {};    // bitmap of ids, see id_bits.h; empty allows all
  std::span<const uint8_t> has_token = {};   // [vocab]: 0 for ids that stand for nothing, never drawn; empty: none
  std::span<const int32_t> banned_ids = {};  // end and stop tokens before min_tokens
  int32_t scored_id = -1;                    // ≥ 0: draw nothing, report this id's log-probability
  int num_top_logprobs = -1;                 // -1: no log-probabilities at all; else 0..32 best ids as well

  // Whether the likeliest id of the raw logits is all that it asks for, if the masks leave that id.
  bool WantsLikeliest() const {
    return !rule.ChangesGreedyChoice() && logit_bias.empty() && scored_id < 0 && num_top_logprobs < 0;
  }
};

// The same, as the verbs see it: arrays in the device's memory, at addresses that never change, so that a recorded step
// can be replayed. samples alone stay in the host's memory. A device may round max_context up: the shapes of its
// launches depend on it, no bit of a result does.
struct Batch {
  std::span<const int32_t> token_ids;
  std::span<const int32_t> positions;
  std::span<const int32_t> slots;
  std::span<const int32_t> token_rows;
  std::span<const BatchRow> rows;
  std::span<const int32_t> blocks;
  std::span<const int32_t> logit_tokens;
  std::span<const int32_t> hidden_rows;
  std::span<const SampleRow> samples;
  int max_context = 0;

  int num_tokens() const { return static_cast<int>(token_ids.size()); }
  int num_logit_rows() const { return static_cast<int>(logit_tokens.size()); }
};

// The inputs where they lie, for devices that read the host's memory.
inline Batch ViewOf(const BatchInputs& inputs, std::span<const SampleRow> samples = {}) {
  return {.token_ids = inputs.token_ids,
          .positions = inputs.positions,
          .slots = inputs.slots,
          .token_rows = inputs.token_rows,
          .rows = inputs.rows,
          .blocks = inputs.blocks,
          .logit_tokens = inputs.logit_tokens,
          .hidden_rows = inputs.hidden_rows,
          .samples = samples,
          .max_context = inputs.max_context()};
}

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
