// A model, on the CPU unless told otherwise, whose steps the test spells out row by row: no engine, no scheduler, own
// block tables.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/model/model.h"
#include "kernels/backend.h"

namespace latentd {

using LogitRows = std::vector<std::vector<float>>;

class ModelSession {
 public:
  struct Options {
    int num_threads = 2;
    int num_blocks = 256;
    int max_tokens = 2048;
    int max_rows = 512;
    int max_logit_rows = 512;
    int max_context = 2048;
    std::optional<LatentFormat> latents = std::nullopt;  // nothing: what the backend prefers
    ActivationFormat activations = ActivationFormat::kF32;
    MtpUse mtp = MtpUse::kNone;
    uint64_t block_seed = 0;                          // 0: blocks are handed out in ascending order; else shuffled
    std::function<Backend()> make_backend = nullptr;  // null: the CPU with num_threads
    // Puts a wrapper around the backend's verbs, for tests that watch them.
    std::function<std::unique_ptr<Ops>(Ops&)> wrap = nullptr;
  };
  struct Row {
    int sequence = 0;
    std::span<const int32_t> ids;  // the sequence's next tokens
    std::vector<int> wanted;       // which of them want logits
  };

  // A row of the layer that predicts further tokens.
  struct DraftRow {
    int sequence = 0;
    int position = 1;              // of its first token
    std::span<const int32_t> ids;  // known, or drafted
    int hidden_row = 0;  // of what the last call gave: what the first token stands behind, further ones behind the next
    std::vector<int> wanted;  // which of them want logits
    int first_key = 1;
  };

  ModelSession(const std::filesystem::path& directory, const Options& options);

  int AddSequence();
  // Another one with the same tokens, whose latents are copies in blocks of its own.
  int Fork(int sequence);
  // The wanted rows of logits, in the order of rows and their tokens.
  LogitRows Step(const std::vector<Row>& rows);
  // The same of the layer that predicts further tokens, behind Step or another Draft.
  LogitRows Draft(const std::vector<DraftRow>& rows);

  // Logits of a new sequence at the wanted positions (ascending), computed in chunks of at most chunk_tokens.
  LogitRows Run(std::span<const int32_t> ids, std::span<const int32_t> positions, int chunk_tokens = 1 << 30);
  // Appends the likeliest token num_tokens times, or until stop_id has been appended.
  std::vector<int32_t> Greedy(std::span<const int32_t> prompt, int num_tokens, int32_t stop_id);

  const ModelConfig& config() const { return model_->config(); }

 private:
  struct Sequence {
    int length = 0;
    std::vector<int32_t> blocks;
  };
  void Append(int sequence, BatchRow row, std::span<const int32_t> ids, BatchInputs& batch);
  LogitRows Rows(Tensor values) const;
  Ops& ops() { return wrapped_ != nullptr ? *wrapped_ : *backend_.ops; }

  Backend backend_;
  std::unique_ptr<Ops> wrapped_;  // what the model calls, where options.wrap is set
  std::unique_ptr<Model> model_;
  std::vector<int32_t> free_blocks_;  // taken from the back
  std::vector<Sequence> sequences_;
  Tensor hidden_;  // of the last call
};

int32_t ArgMax(std::span<const float> logits);
// 0, 1, … count - 1: the logits of all tokens are wanted.
std::vector<int32_t> AllPositions(size_t count);

}  // namespace latentd
