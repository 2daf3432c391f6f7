// The verbs of the model: one per line of the paper. Engine thread only.
//
// The contract (docs/spec/numerics.md 1): an output row is a function of its own inputs and the weights alone, not of
// other rows of the call, the number of threads, the vector width or the place of cache blocks. Each sum has one order:
//   Linear    k ascending for each output; each aligned block of 128 k of FP8, each group of 32 of INT4, into its own
//             accumulator from zero, then total = fma(scale, sum, total), with FP8 codes of activations fma(scale of
//             x * scale, sum of codes' products, total)
//   dots      (norms, attention scores) 16 virtual lanes, element i in lane i % 16, then the tree l + (l + 8), + 4,
//             + 2, + 1
//   softmax   streams over tiles of 64 keys at absolute positions; partial results over ranges of 512 keys, merged
//             ascending; keys that the token does not see take no part
//   experts   ascending id, the shared expert last
// On the CPU these sums have the order of the tile unit instead (ibid. 2), groups of 32 k within which subnormals count
// as zero: those of codes' products; under bf16 activations those of products with weights, but fp32 weights and the
// router's, of attention scores and of P·V. Everything else keeps subnormals.
// All arithmetic is fp32 with explicit fused multiply-add, own exp and log.
#pragma once

#include <memory>
#include <span>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kernels/batch.h"
#include "kernels/tensor.h"

namespace latentd {

// The largest step that will ever be asked for; scratch memory is reserved from it once.
struct StepLimits {
  int max_tokens = 0;
  int max_rows = 0;
  int max_logit_rows = 0;
  int max_context = 0;
  int hidden_size = 0;
  int max_linear_inputs = 0;
  int vocab_size = 0;
  AttentionShape attention;
  int experts_per_token = 0;
  int expert_width = 0;         // of one routed expert
  int shared_expert_width = 0;  // 0 where there is none
  ActivationFormat activations = ActivationFormat::kF32;
  LatentFormat latents = LatentFormat::kF32;
};

class Ops {
 public:
  virtual ~Ops() = default;

  virtual absl::Status Reserve(const StepLimits& limits) = 0;
  // What StepLimits::activations may be; the first is what this backend prefers, where the weights allow it.
  virtual std::span<const ActivationFormat> activation_formats() const = 0;
  // What AppendLatent can store and AttendLatent reads beside such activations; the first is what this backend prefers.
  virtual std::span<const LatentFormat> latent_formats(ActivationFormat activations) const = 0;

  // Repacking at load. The source's bytes are not needed afterwards.
  virtual absl::StatusOr<std::unique_ptr<const Matrix>> PackLinear(const MatrixSource& source) = 0;
  virtual absl::StatusOr<std::unique_ptr<const Matrix>> PackTable(const MatrixSource& source) = 0;
  // kv_b [num_heads * (nope_width + value_width), latent_width]: W_UK and W_UV of each head, for AttendLatent.
  virtual absl::StatusOr<std::unique_ptr<const Matrix>> PackKeyValueUp(const MatrixSource& source,
                                                                       const AttentionShape& shape) = 0;
  // shared may be null. The experts' widths may differ from the shared one's.
  virtual absl::StatusOr<std::unique_ptr<const Experts>> PackExperts(std::span<const ExpertSource> routed,
                                                                     const ExpertSource* shared) = 0;

  // Hands the step's inputs to the device. Everything of the host is borrowed until Collect; the batch is valid until
  // the next Upload. samples[i] belongs to logit_tokens[i]; none at all where nothing is sampled.
  virtual Batch Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) = 0;

  // out[i] = row token_ids[i] of the table [vocab, hidden]. A token without an id, as an image's is, has no row here:
  // it needs a verb that takes rows from the step's inputs.
  virtual void Embed(const Batch& batch, const Matrix& table, Tensor out) = 0;

  // out = weight ⊙ x / sqrt(mean(x²) + epsilon), per row, and its codes where out has room for them. out may be x.
  virtual void RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) = 0;
  // x += delta, then out = norm(x).
  virtual void AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) = 0;

  // out [tokens, outputs] = x [tokens, inputs] Wᵀ. Codes times codes where x has codes and W is E4M3
  // (docs/spec/deepseek.md 4.3: W8A8).
  virtual void Linear(const Activation& x, const Matrix& weight, Tensor out) = 0;

  // out = silu(gate) ⊙ up, and its codes where out has room for them. out.values may be gate or up.
  virtual void SwiGlu(Tensor gate, Tensor up, const Activation& out) = 0;

  // Rotates the last rope_width values of each head of q [tokens, num_heads * (nope + rope)] in place.
  virtual void RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) = 0;

  // kv [tokens, latent + rope]: norms the latent part, rotates the key part, stores both in the tokens' slots; nothing
  // where that is kNoSlot. bf16: nearest, ties to even. FP8: the scale of a group is max(amax, 1e-4) / 448 rounded up
  // to a power of two, or NaN where a value is not finite, and then the codes are 0; code = value / scale, to even.
  virtual void AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                            LatentPages pages) = 0;

  // out [tokens, num_heads * value_width] = softmax(scale · q·k) v over the cached positions from the row's first_key
  // up to the token's own, in the absorbed form: q̃ = U_hᵀ q_n, scores over [latent; rope], out = V_h Σ p c (paper
  // 2.1.2; docs/spec/deepseek.md 3.3); and its codes where out has room for them. W_UK and W_UV are always multiplied
  // with values. A position's latent is what its slot stands for, exactly; so is that of a token of this very step.
  // Slots of other positions may hold any bytes.
  virtual void AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale,
                            const Batch& batch, LatentPages pages, const Activation& out) = 0;

  // Group-limited top-k choice from router logits [tokens, num_experts] (docs/spec/deepseek.md 3.6). bias may be null.
  // Ties go to the lower index. routing.rows must equal logits.rows.
  virtual void RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) = 0;

  // out = Σ weight · expert(x) over the chosen experts, ascending id, then + shared(x). Where x has codes, an expert's
  // products are those of Linear, and its hidden layer gets codes of x's scale format.
  virtual void MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) = 0;

  // out[i] = x[rows[i]]; rows is one of a batch's arrays.
  virtual void GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) = 0;

  // Chooses an id for each row of logits [logit rows, vocab], as batch.samples say.
  virtual void Sample(const Batch& batch, Tensor logits) = 0;
  // Waits for the step that was uploaded last and hands out what Sample chose in it, for its first results.size() rows.
  virtual void Collect(std::span<SampleResult> results) = 0;

  // Copies `count` slots of a layer from slot `from` on to slot `to` on, which do not overlap: the part of a block that
  // a sequence shares with another before it goes on to write there. Before the step's first AppendLatent.
  virtual void CopyLatents(LatentPages pages, int from, int to, int count) = 0;
};

}  // namespace latentd
