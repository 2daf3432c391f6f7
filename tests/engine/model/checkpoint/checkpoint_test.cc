// The checkpoints that Checkpoint::Open accepts, and its results.
#include "engine/model/checkpoint/checkpoint.h"

#include <cmath>
#include <cstring>
#include <string>

#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/fp8.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

absl::StatusOr<Checkpoint> Open(const CheckpointDraft& draft) {
  const TemporaryDirectory directory;
  draft.Write(directory.path());
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory.path());
  if (!config.ok()) return config.status();
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory.path(), *config);
  if (!checkpoint.ok()) return checkpoint.status();
  if (absl::Status status = checkpoint->CheckUnread(2); !status.ok()) return status;
  return checkpoint;
}

const char kProjection[] = "model.layers.1.self_attn.o_proj.weight";  // [136, 80]

TEST(Checkpoint, AcceptsEveryKindOfTinyCheckpoint) {
  const TinyCheckpoint kKinds[] = {
      {},
      {.projections = DType::kF32, .others = DType::kF32},
      {.projections = DType::kE4M3},
      {.projections = DType::kE4M3, .scales = DType::kBf16, .num_shards = 3},
      {.projections = DType::kE4M3, .scales = DType::kE8M0, .num_shards = 2},
      {.query_latent_width = 0, .num_groups = 1, .groups_per_token = 1},
      {.num_mtp_layers = 0, .num_shared_experts = 0, .yarn_factor = 1.0},
      {.num_mtp_layers = 2, .has_mtp_copies = false},
      {.tied_embedding = true},
      {.num_dense_layers = 3, .num_mtp_layers = 0},
      {.model_type = "deepseek_v2", .num_mtp_layers = 0},
      {.model_type = "kimi_k2"},
      {.model_type = "glm4_moe_lite"},
  };
  for (const TinyCheckpoint& kind : kKinds) {
    const absl::StatusOr<Checkpoint> checkpoint = Open(DraftTinyCheckpoint(kind));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_THAT(checkpoint->warnings(), ::testing::IsEmpty());
    EXPECT_EQ(checkpoint->Has("lm_head.weight"), !kind.tied_embedding);
    EXPECT_EQ(checkpoint->Has("model.layers.3.shared_head.head.weight"),
              kind.num_mtp_layers > 0 && kind.has_mtp_copies);
    EXPECT_EQ(checkpoint->Has("model.layers.3.enorm.weight"), kind.num_mtp_layers > 0);
  }
}

// The sizes of docs/spec/deepseek.md 8; FP8 with edge blocks on both sides.
TEST(Checkpoint, AcceptsTheAcceptanceListsModel) {
  const TinyCheckpoint options = {
      .hidden_size = 256,
      .attention = {.num_heads = 4, .nope_width = 32, .rope_width = 16, .value_width = 32, .latent_width = 64},
      .dense_width = 200,
      .projections = DType::kE4M3};
  const absl::StatusOr<Checkpoint> checkpoint = Open(DraftTinyCheckpoint(options));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Matrix("model.layers.0.mlp.up_proj.weight").scales.size(), 4u);    // [200, 256]
  EXPECT_EQ(checkpoint->Matrix("model.layers.0.mlp.down_proj.weight").scales.size(), 4u);  // [256, 200]
}

TEST(Checkpoint, MatrixIsTheFilesBytes) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  const std::string bytes = draft.Find(kProjection).bytes;
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const MatrixSource source = checkpoint->Matrix(kProjection);
  EXPECT_EQ(source.dtype, DType::kBf16);
  EXPECT_EQ(source.outputs, 136);
  EXPECT_EQ(source.inputs, 80);
  EXPECT_TRUE(source.scales.empty());
  EXPECT_EQ(std::memcmp(source.bytes, bytes.data(), bytes.size()), 0);
}

TEST(Checkpoint, VectorIsDecoded) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  std::string& bytes = draft.Find("model.norm.weight").bytes;
  const uint16_t bits = EncodeBf16(-1.5f);
  std::memcpy(bytes.data() + 4, &bits, 2);
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::vector<float> norm = checkpoint->Vector("model.norm.weight");
  ASSERT_EQ(norm.size(), 136u);
  EXPECT_EQ(norm[2], -1.5f);
  EXPECT_EQ(checkpoint->Vector("model.layers.1.mlp.gate.e_score_correction_bias").size(), 8u);
}

// Whatever the scales are stored as, codes times scales give back the weights that were drawn.
TEST(Checkpoint, ScalesOfEveryTypeAreDecoded) {
  const absl::StatusOr<Checkpoint> exact = Open(DraftTinyCheckpoint({.projections = DType::kF32}));
  ASSERT_TRUE(exact.ok()) << exact.status();
  const char kName[] = "model.layers.0.mlp.up_proj.weight";  // [200, 136]
  for (const DType scales : {DType::kF32, DType::kBf16, DType::kE8M0}) {
    const absl::StatusOr<Checkpoint> stored =
        Open(DraftTinyCheckpoint({.projections = DType::kE4M3, .scales = scales}));
    ASSERT_TRUE(stored.ok()) << stored.status();
    const MatrixSource weight = stored->Matrix(kName);
    EXPECT_EQ(weight.dtype, DType::kE4M3);
    ASSERT_EQ(weight.scales.size(), 4u);
    const auto* codes = reinterpret_cast<const uint8_t*>(weight.bytes);
    double error = 0.0;
    double norm = 0.0;
    for (int row = 0; row < weight.outputs; ++row) {
      for (int column = 0; column < weight.inputs; ++column) {
        const size_t index = static_cast<size_t>(row * weight.inputs + column);
        const float scale = weight.scales[static_cast<size_t>(row / 128 * 2 + column / 128)];
        float drawn;
        std::memcpy(&drawn, exact->Matrix(kName).bytes + index * sizeof(drawn), sizeof(drawn));
        error += std::pow(DecodeE4M3(codes[index]) * scale - drawn, 2);
        norm += std::pow(drawn, 2);
      }
    }
    EXPECT_LT(std::sqrt(error / norm), 0.04) << "scales of type " << static_cast<int>(scales);
  }
}

TEST(Checkpoint, OneTensorMayBeFp8AmongOthers) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  CheckpointDraft fp8 = DraftTinyCheckpoint({.projections = DType::kE4M3});
  draft.Find(kProjection) = fp8.Find(kProjection);
  draft.tensors.push_back(fp8.Find(std::string(kProjection) + "_scale_inv"));
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Matrix(kProjection).dtype, DType::kE4M3);
  EXPECT_EQ(checkpoint->Matrix("model.layers.2.self_attn.o_proj.weight").dtype, DType::kBf16);
}

TEST(Checkpoint, OldRotaryBuffersAreIgnored) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  const uint64_t digest = Open(draft)->Digest();
  draft.tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, std::string("\0\0\xc0\x7f", 4)});
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Digest(), digest);
}

std::string OnlyWarning(const absl::StatusOr<Checkpoint>& checkpoint) {
  if (!checkpoint.ok()) return checkpoint.status().ToString();
  return checkpoint->warnings().size() == 1 ? checkpoint->warnings()[0]
                                            : absl::StrFormat("%d warnings", checkpoint->warnings().size());
}

// Peers ignore them: vLLM and SGLang in silence, transformers with a warning.
TEST(Checkpoint, TensorsThatNothingUsesAreLeftAside) {
  const CheckpointDraft sound = DraftTinyCheckpoint({.projections = DType::kE4M3});
  const uint64_t digest = Open(sound)->Digest();
  for (const StoredTensor& extra :
       {StoredTensor{"extra", "F32", {1}, "1234"}, StoredTensor{"a\\nb\xc3\xa4", "U8", {0}, ""},
        StoredTensor{"nothing.weight_scale_inv", "F32", {1}, "1234"},
        StoredTensor{"vision_tower.blocks.0.weight", "F16", {2}, "1234"},
        StoredTensor{"model.layers.0.self_attn.q_a_proj.bias", "BF16", {2}, "1234"},
        StoredTensor{"model.layers.62.eh_proj.weight", "BF16", {2}, "1234"},
        StoredTensor{"model.layers.0.mlp.gate.e_score_correction_bias", "I64", {1}, "12345678"}}) {
    SCOPED_TRACE(extra.name);
    CheckpointDraft draft = sound;
    draft.tensors.push_back(extra);
    const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
    EXPECT_THAT(OnlyWarning(checkpoint),
                ::testing::HasSubstr("1 tensors are left aside, since config.json asks for no"));
    ASSERT_TRUE(checkpoint.ok());
    EXPECT_EQ(checkpoint->Digest(), digest);
    EXPECT_EQ(checkpoint->tensor_bytes(), Open(sound)->tensor_bytes());
    EXPECT_FALSE(checkpoint->Has(extra.name));
  }
}

TEST(Checkpoint, TheWarningNamesFewOfMany) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  for (int i = 0; i < 1000; ++i) draft.tensors.push_back({absl::StrFormat("optimizer.%04d", i), "U8", {1}, "x"});
  const std::string warning = OnlyWarning(Open(draft));
  EXPECT_THAT(warning, ::testing::HasSubstr("1000 tensors are left aside"));
  EXPECT_THAT(warning, ::testing::HasSubstr("'optimizer.0000', 'optimizer.0001', 'optimizer.0002', …"));
  EXPECT_LT(warning.size(), 300u);
}

TEST(Checkpoint, AHeadBesideATiedEmbeddingIsNoSurprise) {
  CheckpointDraft draft = DraftTinyCheckpoint({.tied_embedding = true});
  StoredTensor head = draft.Find("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  draft.tensors.push_back(head);
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->warnings(), ::testing::IsEmpty());
}

TEST(Checkpoint, LayersThatPredictFurtherTokensMayBeAbsent) {
  CheckpointDraft draft = DraftTinyCheckpoint({.num_mtp_layers = 2});
  EXPECT_EQ(Open(draft)->num_mtp_layers(), 2);
  draft.Remove("model.layers.4.hnorm.weight");
  absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  EXPECT_THAT(
      OnlyWarning(checkpoint),
      ::testing::HasSubstr("names 2 layers that predict further tokens (num_nextn_predict_layers), and of their "
                           "tensors 1 are absent, such as 'model.layers.4.hnorm.weight': 1 of the layers"));
  EXPECT_EQ(checkpoint->num_mtp_layers(), 1);
  EXPECT_TRUE(checkpoint->Has("model.layers.3.eh_proj.weight"));
  EXPECT_FALSE(checkpoint->Has("model.layers.4.eh_proj.weight"));

  std::erase_if(draft.tensors, [](const StoredTensor& tensor) { return tensor.name.starts_with("model.layers.3."); });
  checkpoint = Open(draft);
  EXPECT_THAT(OnlyWarning(checkpoint), ::testing::HasSubstr("0 of the layers are served"));
  EXPECT_EQ(checkpoint->num_mtp_layers(), 0);
  // The digest is that of a model that never had them.
  EXPECT_EQ(checkpoint->Digest(), Open(DraftTinyCheckpoint({.num_mtp_layers = 0}))->Digest());
}

TEST(Checkpoint, ALayerThatConfigDoesNotNameIsLeftAside) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  draft.Reconfigure(R"("num_nextn_predict_layers": 1)", R"("num_nextn_predict_layers": 0)");
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  EXPECT_THAT(OnlyWarning(checkpoint), ::testing::HasSubstr("'model.layers.3."));
  EXPECT_EQ(checkpoint->num_mtp_layers(), 0);
}

TEST(Checkpoint, WarnsOfUnevenScalesUnderUe8m0) {
  CheckpointDraft draft = DraftTinyCheckpoint({.projections = DType::kE4M3});
  draft.Reconfigure(R"("quant_method": "fp8")", R"("quant_method": "fp8", "scale_fmt": "ue8m0")");
  const absl::StatusOr<Checkpoint> checkpoint = Open(draft);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->warnings().size(), 1u);
  EXPECT_THAT(checkpoint->warnings()[0], ::testing::HasSubstr("FP8 scales are not powers of two"));
}

TEST(Checkpoint, DigestFollowsNamesShapesAndBytesButNotShards) {
  const CheckpointDraft draft = DraftTinyCheckpoint({});
  const uint64_t digest = Open(draft)->Digest();
  EXPECT_EQ(Open(draft)->Digest(), digest);

  CheckpointDraft sharded = draft;
  sharded.num_shards = 4;
  EXPECT_EQ(Open(sharded)->Digest(), digest);
  EXPECT_EQ(Open(sharded)->tensor_bytes(), Open(draft)->tensor_bytes());

  CheckpointDraft changed = draft;
  changed.Find("model.norm.weight").bytes[3] ^= 1;
  EXPECT_NE(Open(changed)->Digest(), digest);

  EXPECT_NE(Open(DraftTinyCheckpoint({.has_mtp_copies = false}))->Digest(), digest);
  EXPECT_NE(Open(DraftTinyCheckpoint({.seed = 2}))->Digest(), digest);
}

}  // namespace
}  // namespace latentd
