// A model of any kind that latentd loads, on the CPU, whose steps give whole rows of logits: what an engine on it
// answers can be compared with the same tokens computed alone, without an engine, as bytes, and so can the latents that
// its steps left. A slot of its latent cache that nothing was written to holds NaN, so that a step that reads one is
// seen.
#pragma once

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/model/model.h"
#include "engine/request.h"
#include "engine/schedule/sequence.h"
#include "engine/step/model_executor.h"
#include "kernels/backend.h"
#include "tests/engine/reuse/known_answers.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {

inline constexpr int kMostContext = 384;

// A checkpoint, and how its numbers are stored and multiplied.
struct ModelKind {
  std::string name;
  std::optional<TinyCheckpoint> checkpoint = std::nullopt;  // none: the bundled model
  LatentFormat latents = LatentFormat::kF32;
  ActivationFormat activations = ActivationFormat::kF32;
  MtpUse mtp = MtpUse::kNone;
  int num_threads = 1;
  int max_context = kMostContext;  // of a sequence
};
inline std::ostream& operator<<(std::ostream& out, const ModelKind& kind) { return out << kind.name; }

// With each format of activations that the CPU computes with and the weights allow, and each of the cache beside it.
std::vector<ModelKind> BundledKinds();
// Each variant with a third of them, the next one with another third.
std::vector<ModelKind> TinyKinds();
// Those that can draft, made so that they do.
std::vector<ModelKind> DraftingKinds(const std::vector<ModelKind>& kinds);

// What one sequence got.
struct Answer {
  std::vector<int32_t> ids = {};                // drawn; for Score, those of the prompt after the first
  std::vector<float> logprobs = {};             // of them
  std::vector<std::vector<float>> logits = {};  // [ids][vocab]

  void Append(const SampleResult& result);  // whose `top` RecordedModel filled
};
// As bytes.
testing::AssertionResult SameAnswer(const Answer& a, const Answer& b);

class RecordedModel {
 public:
  static constexpr int kMaxTokens = 512, kMaxRows = 64, kMaxContext = kMostContext;  // of a step; of a sequence
  static constexpr int kEngineBlocks = 128;  // for engines, the scratch block included

  explicit RecordedModel(const ModelKind& kind);
  ~RecordedModel();

  // What sequence `index` of the request is defined to get: its prompt computed in one step, each further token in one,
  // in blocks of its own.
  Answer Cold(const Request& request, int32_t index = 0);

  // Its results' `top` are all ids with their logits, its drafts those that KnownAnswers makes of the model's.
  StepExecutor& executor();
  KnownAnswers& known_answers() { return known_answers_; }
  // The cache has of the sequence, in every layer, what one step over its tokens stores in blocks of its own; of the
  // layer that predicts further tokens, where the sequence has its slots.
  testing::AssertionResult HasFreshLatents(const Sequence& sequence);
  // Nothing is in the engines' first blocks from here on.
  void Erase(int num_blocks);
  int vocab_size() const { return model_->config().vocab_size; }

 private:
  class Recorder;
  class Executor;

  void AppendStep(const Request& request, int32_t index, std::vector<int32_t>& tokens, Answer& answer);
  // Stores the latents of these tokens in Cold's blocks, and of the layer that predicts further ones up to the last of
  // them, which is not computed otherwise.
  void StoreCold(std::span<const int32_t> tokens);

  Backend backend_;
  std::unique_ptr<Ops> ops_;      // what backend_.ops, a Recorder, passes its calls on to
  Recorder* recorder_ = nullptr;  // owned by backend_
  std::unique_ptr<Model> model_;
  KnownAnswers known_answers_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace latentd
