// INT4 weights as Kimi-K2-Thinking publishes them: what is accepted, and how everything else of the format is refused.
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/checkpoint/checkpoint.h"
#include "kernels/stored_value.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const TinyCheckpoint kAsPublished = {
    .model_type = "kimi_k2", .projections = DType::kInt4, .only_experts_int4 = true, .num_shards = 3};
const TinyCheckpoint kAllProjections = {.projections = DType::kInt4};

const std::string kExpert = "model.layers.1.mlp.experts.3.down_proj.weight";  // [136, 44]: 6 words, 2 groups
const std::string kPacked = kExpert + "_packed";
const std::string kScale = kExpert + "_scale";
const std::string kShape = kExpert + "_shape";

struct Opened {
  absl::StatusOr<Checkpoint> checkpoint = absl::UnknownError("not opened");
  uint64_t bytes_read = 0;
  std::vector<absl::Status> problems;
};

Opened Open(const CheckpointDraft& draft) {
  const TemporaryDirectory directory;
  draft.Write(directory.path());
  Opened opened;
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory.path());
  if (!config.ok()) return {.checkpoint = config.status(), .problems = {config.status()}};
  uint64_t bytes_read = 0;
  opened.checkpoint = Checkpoint::Open(directory.path(), *config,
                                       [&](uint64_t read, uint64_t) { bytes_read = std::max(bytes_read, read); });
  if (opened.checkpoint.ok()) {
    const absl::Status status = opened.checkpoint->CheckUnread(1);
    if (!status.ok()) opened.checkpoint = status;
  }
  opened.bytes_read = bytes_read;
  opened.problems = Checkpoint::FindProblems(directory.path(), *config);
  return opened;
}

TEST(Int4Checkpoint, ExpertsArePackedAndTheRestIsBf16) {
  const Opened opened = Open(DraftTinyCheckpoint(kAsPublished));
  ASSERT_TRUE(opened.checkpoint.ok()) << opened.checkpoint.status();
  EXPECT_THAT(opened.checkpoint->warnings(), IsEmpty());
  EXPECT_THAT(opened.problems, IsEmpty());
  EXPECT_TRUE(opened.checkpoint->Has(kExpert));
  EXPECT_EQ(opened.checkpoint->Matrix(kExpert).dtype, DType::kInt4);
  EXPECT_EQ(opened.checkpoint->Matrix("model.layers.1.mlp.shared_experts.up_proj.weight").dtype, DType::kBf16);
  EXPECT_EQ(opened.checkpoint->Matrix("model.layers.1.self_attn.kv_b_proj.weight").dtype, DType::kBf16);
}

TEST(Int4Checkpoint, EveryProjectionButKvUpMayBePacked) {
  const Opened opened = Open(DraftTinyCheckpoint(kAllProjections));
  ASSERT_TRUE(opened.checkpoint.ok()) << opened.checkpoint.status();
  for (const char* name : {"model.layers.0.mlp.up_proj.weight", "model.layers.2.self_attn.q_b_proj.weight",
                           "model.layers.0.self_attn.o_proj.weight", "model.layers.3.mlp.experts.0.up_proj.weight"}) {
    EXPECT_EQ(opened.checkpoint->Matrix(name).dtype, DType::kInt4) << name;
  }
}

TEST(Int4Checkpoint, AMatrixIsTheFilesWordsAndScales) {
  CheckpointDraft draft = DraftTinyCheckpoint(kAsPublished);
  const std::string words = draft.Find(kPacked).bytes, scales = draft.Find(kScale).bytes;
  const Opened opened = Open(draft);
  ASSERT_TRUE(opened.checkpoint.ok()) << opened.checkpoint.status();
  const MatrixSource matrix = opened.checkpoint->Matrix(kExpert);
  EXPECT_EQ(matrix.outputs, 136);
  EXPECT_EQ(matrix.inputs, 44);
  ASSERT_EQ(words.size(), 136 * RowBytes(DType::kInt4, 44));
  EXPECT_EQ(std::memcmp(matrix.bytes, words.data(), words.size()), 0);
  ASSERT_EQ(scales.size(), 136u * 2 * 2);
  EXPECT_EQ(std::memcmp(matrix.group_scales, scales.data(), scales.size()), 0);
}

// The seed draws the same values for both.
TEST(Int4Checkpoint, NibblesTimesScalesAreTheWeightsThatWereDrawn) {
  TinyCheckpoint exact = kAsPublished;
  exact.projections = DType::kF32;
  const Opened drawn = Open(DraftTinyCheckpoint(exact)), packed = Open(DraftTinyCheckpoint(kAsPublished));
  ASSERT_TRUE(drawn.checkpoint.ok() && packed.checkpoint.ok());
  const MatrixSource from = drawn.checkpoint->Matrix(kExpert), to = packed.checkpoint->Matrix(kExpert);
  double error = 0.0, norm = 0.0;
  for (int n = 0; n < to.outputs; ++n) {
    for (int k = 0; k < to.inputs; ++k) {
      const double value = StoredValue(from, n, k), difference = StoredValue(to, n, k) - value;
      error += difference * difference;
      norm += value * value;
    }
  }
  EXPECT_LT(error / norm, 0.01);
  EXPECT_GT(error / norm, 0.001);
}

TEST(Int4Checkpoint, EveryByteIsReadOnce) {
  for (const TinyCheckpoint& options : {kAsPublished, kAllProjections}) {
    const CheckpointDraft draft = DraftTinyCheckpoint(options);
    uint64_t stored_bytes = 0;
    for (const StoredTensor& tensor : draft.tensors) stored_bytes += tensor.bytes.size();
    const Opened opened = Open(draft);
    ASSERT_TRUE(opened.checkpoint.ok()) << opened.checkpoint.status();
    EXPECT_EQ(opened.bytes_read, stored_bytes);
    EXPECT_EQ(opened.checkpoint->tensor_bytes(), stored_bytes);
  }
}

TEST(Int4Checkpoint, TheDigestCoversNibblesAndScales) {
  const CheckpointDraft sound = DraftTinyCheckpoint(kAsPublished);
  const uint64_t digest = Open(sound).checkpoint->Digest();
  CheckpointDraft sharded = sound;
  sharded.num_shards = 1;
  EXPECT_EQ(Open(sharded).checkpoint->Digest(), digest);
  for (const std::string& name : {kPacked, kScale}) {
    CheckpointDraft changed = sound;
    changed.Find(name).bytes[1] ^= 1;
    EXPECT_NE(Open(changed).checkpoint->Digest(), digest) << name;
  }
}

TEST(Int4Checkpoint, TheShapeMayBeAbsentOrInShortIntegers) {
  CheckpointDraft draft = DraftTinyCheckpoint(kAsPublished);
  draft.Remove(kShape);
  EXPECT_TRUE(Open(draft).checkpoint.ok());
  const int32_t sizes[] = {136, 44};
  draft.tensors.push_back({kShape, "I32", {2}, {reinterpret_cast<const char*>(sizes), sizeof(sizes)}});
  EXPECT_TRUE(Open(draft).checkpoint.ok());
}

struct Damage {
  std::string message;
  std::function<void(CheckpointDraft&)> apply;
};

void Resize(StoredTensor& tensor, std::vector<int64_t> shape, size_t num_bytes) {
  tensor.shape = std::move(shape);
  tensor.bytes.resize(num_bytes, '\0');
}

const Damage kDamages[] = {
    {"tensor '" + kScale + "': expected beside its INT4 weight, found none",
     [](CheckpointDraft& draft) { draft.Remove(kScale); }},
    {"tensor '" + kExpert + "': config.json asks for it, found none",
     [](CheckpointDraft& draft) { draft.Remove(kPacked); }},
    {"tensor '" + kPacked + "': expected it or '" + kExpert + "', found both",
     [](CheckpointDraft& draft) {
       draft.tensors.push_back({kExpert, "BF16", {136, 44}, std::string(136 * 44 * 2, '\0')});
     }},
    {"tensor '" + kExpert +
         "_zero_point': expected symmetric groups of inputs that follow each other, found zero "
         "points: it is asymmetric, which is not supported; quantize the original with latent-convert",
     [](CheckpointDraft& draft) {
       draft.tensors.push_back({kExpert + "_zero_point", "I32", {17, 2}, std::string(17 * 2 * 4, '\0')});
     }},
    {"tensor '" + kExpert +
         "_g_idx': expected symmetric groups of inputs that follow each other, found an order of its",
     [](CheckpointDraft& draft) {
       draft.tensors.push_back({kExpert + "_g_idx", "I32", {44}, std::string(44 * 4, '\0')});
     }},
    {"tensor '" + kPacked + "': expected I32, eight INT4 values a word, found U8",  // as nvfp4-pack-quantized has it
     [](CheckpointDraft& draft) {
       draft.Find(kPacked).dtype = "U8";
       Resize(draft.Find(kPacked), {136, 22}, 136 * 22);
     }},
    {"tensor '" + kPacked +
         "': expected the shape [136, 6], found [136, 11]; does config.json belong to it?",  // 8 bits
     [](CheckpointDraft& draft) {
       Resize(draft.Find(kPacked), {136, 11}, 136 * 11 * 4);
     }},
    {"tensor '" + kScale + "': expected BF16, found F16",
     [](CheckpointDraft& draft) { draft.Find(kScale).dtype = "F16"; }},
    {"tensor '" + kScale +
         "': expected the shape [136, 2], a scale for 32 inputs, found [136, 1]; other groups are not "
         "supported",
     [](CheckpointDraft& draft) {
       Resize(draft.Find(kScale), {136, 1}, 136 * 2);
     }},
    {"tensor '" + kScale + "': expected finite values, found inf at [2, 1]; the file is damaged",
     [](CheckpointDraft& draft) { draft.Find(kScale).bytes.replace((2 * 2 + 1) * 2, 2, "\x80\x7f"); }},
    {"tensor '" + kShape + "': expected the sizes [136, 44], found [137, 44]; does config.json belong to it?",
     [](CheckpointDraft& draft) { ++draft.Find(kShape).bytes[0]; }},
    {"tensor '" + kShape + "': expected I64 or I32, found F32",
     [](CheckpointDraft& draft) {
       draft.Find(kShape).dtype = "F32";
       draft.Find(kShape).bytes.resize(8);
     }},
    {"tensor '" + kShape + "': expected the shape [2], found [3]",
     [](CheckpointDraft& draft) { Resize(draft.Find(kShape), {3}, 24); }},
    {"tensor 'model.layers.1.self_attn.kv_b_proj.weight_packed': expected 'model.layers.1.self_attn.kv_b_proj.weight' "
     "in BF16 or F32, found it packed as INT4",
     [](CheckpointDraft& draft) { draft.Find("model.layers.1.self_attn.kv_b_proj.weight").name += "_packed"; }},
};

TEST(Int4Checkpoint, EachDamageIsNamed) {
  const CheckpointDraft sound = DraftTinyCheckpoint(kAsPublished);
  for (const Damage& damage : kDamages) {
    SCOPED_TRACE(damage.message);
    CheckpointDraft draft = sound;
    damage.apply(draft);
    const Opened opened = Open(draft);
    ASSERT_FALSE(opened.checkpoint.ok());
    EXPECT_THAT(std::string(opened.checkpoint.status().message()), HasSubstr(damage.message));
    ASSERT_EQ(opened.problems.size(), 1u);
    EXPECT_THAT(std::string(opened.problems[0].message()), HasSubstr(damage.message));
  }
}

// A part without its weight is a tensor that nothing uses.
TEST(Int4Checkpoint, PartsBesideAPlainWeightAreLeftAside) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  draft.tensors.push_back({kScale, "BF16", {136, 2}, std::string(136 * 2 * 2, '\0')});
  const Opened opened = Open(draft);
  ASSERT_TRUE(opened.checkpoint.ok()) << opened.checkpoint.status();
  ASSERT_EQ(opened.checkpoint->warnings().size(), 1u);
  EXPECT_THAT(opened.checkpoint->warnings()[0], HasSubstr("'" + kScale + "'"));
}

}  // namespace
}  // namespace latentd
