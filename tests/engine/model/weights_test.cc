// That no tensor of a checkpoint is read, checked and then not computed with.
#include "engine/model/weights.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Loads a tiny checkpoint as LoadWeights would if it knew `edit`'s configuration only, that is, forgot the rest.
template <class Edit>
absl::Status LoadedWith(const Edit& edit) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({}, directory.path());
  const ModelConfig config = OrDie(LoadModelConfig(directory.path()));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory.path(), config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  ModelConfig known = config;
  edit(known);
  return LoadWeights(checkpoint, known, MtpUse::kNone, *backend.device, *backend.ops).status();
}

TEST(Weights, AllThatIsNotLoadedIsNotComputedYet) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  for (const char* checked : {"model.layers.3.eh_proj.weight", "model.layers.3.embed_tokens.weight",
                              "model.layers.3.shared_head.head.weight"}) {
    const bool is_there = std::any_of(draft.tensors.begin(), draft.tensors.end(),
                                      [checked](const StoredTensor& tensor) { return tensor.name == checked; });
    ASSERT_TRUE(is_there) << checked;
  }
  EXPECT_TRUE(LoadedWith([](ModelConfig&) {}).ok())
      << "layers that predict further tokens, and copies, are only checked";
}

TEST(Weights, AForgottenTensorIsNamed) {
  const absl::Status bias = LoadedWith([](ModelConfig& known) { known.has_routing_bias = false; });
  EXPECT_EQ(bias.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(bias.message()), StartsWith("model.layers.1.mlp.gate.e_score_correction_bias: "));
  EXPECT_THAT(std::string(bias.message()), HasSubstr("LoadWeights forgot it"));
  const absl::Status layer = LoadedWith([](ModelConfig& known) { --known.num_layers; });
  EXPECT_THAT(std::string(layer.message()), StartsWith("model.layers.2.input_layernorm.weight: "));
  const absl::Status shared = LoadedWith([](ModelConfig& known) { known.shared_expert_width = 0; });
  EXPECT_THAT(std::string(shared.message()), HasSubstr("shared_experts"));
}

struct Own {
  bool embedding = false, head = false;
};
// Which of the two the layer that drafts has beside the main ones.
Own OwnOf(const CheckpointDraft& draft) {
  const TemporaryDirectory directory;
  draft.Write(directory.path());
  const ModelConfig config = OrDie(LoadModelConfig(directory.path()));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory.path(), config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  const Weights weights = OrDie(LoadWeights(checkpoint, config, MtpUse::kDraft, *backend.device, *backend.ops));
  return {.embedding = weights.mtp->embedding != nullptr, .head = weights.mtp->head != nullptr};
}

TEST(Weights, CopiesAreLoadedOnlyWhereAByteDiffers) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  std::string& embedding = draft.Find("model.layers.3.embed_tokens.weight").bytes;
  std::string& head = draft.Find("model.layers.3.shared_head.head.weight").bytes;
  embedding = draft.Find("model.embed_tokens.weight").bytes;
  head = draft.Find("lm_head.weight").bytes;
  const Own copied = OwnOf(draft);
  EXPECT_FALSE(copied.embedding || copied.head);
  embedding[embedding.size() - 2] ^= 1;
  head[0] ^= 1;
  const Own changed = OwnOf(draft);
  EXPECT_TRUE(changed.embedding && changed.head);
}

// Notes which weights ask for fp32 inputs, by their number of outputs.
class InputKeepers final : public ForwardingOps {
 public:
  explicit InputKeepers(Ops& to) : ForwardingOps(to) {}
  absl::StatusOr<std::unique_ptr<const Matrix>> PackLinear(const MatrixSource& source) override {
    if (source.keeps_inputs) outputs.push_back(source.outputs);
    return ForwardingOps::PackLinear(source);
  }
  absl::StatusOr<std::unique_ptr<const Experts>> PackExperts(std::span<const ExpertSource> routed,
                                                             const ExpertSource* shared) override {
    for (const ExpertSource& expert : routed) {
      EXPECT_FALSE(expert.gate.keeps_inputs || expert.up.keeps_inputs || expert.down.keeps_inputs);
    }
    return ForwardingOps::PackExperts(routed, shared);
  }

  std::vector<int> outputs;
};

TEST(Weights, OnlyRoutersReadTheirInputsInFullWhateverTheActivationsAre) {
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({}, directory.path());
  const ModelConfig config = OrDie(LoadModelConfig(directory.path()));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory.path(), config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  InputKeepers ops(*backend.ops);
  ASSERT_TRUE(LoadWeights(checkpoint, config, MtpUse::kNone, *backend.device, ops).ok());
  EXPECT_EQ(ops.outputs, std::vector<int>(2, config.routing.num_experts)) << "one for each of two MoE layers";
}

TEST(Weights, ATensorThatIsOnlyCheckedIsNotTaken) {
  const absl::Status layer = LoadedWith([](ModelConfig& known) { ++known.num_layers; });
  EXPECT_EQ(layer.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(layer.message()), StartsWith("model.layers.3.input_layernorm.weight: "));
  EXPECT_THAT(std::string(layer.message()), HasSubstr("expected to be checked only"));
}

TEST(Weights, AHeadOfItsOwnIsNotReplacedByTheEmbedding) {
  const absl::Status head = LoadedWith([](ModelConfig& known) { known.tied_embedding = true; });
  EXPECT_THAT(std::string(head.message()), StartsWith("lm_head.weight: "));
}

}  // namespace
}  // namespace latentd
