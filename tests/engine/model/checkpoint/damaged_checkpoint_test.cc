// Every way in which a checkpoint can be broken: one line that names what is wrong, and never more than that.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/check.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "kernels/fp8.h"
#include "tests/engine/model/checkpoint/largest_allocation.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

absl::Status OpenIn(const std::filesystem::path& directory) {
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return config.status();
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  return checkpoint.ok() ? checkpoint->CheckUnread(1) : checkpoint.status();
}

void ExpectOneLine(const absl::Status& status, std::string_view message) {
  ASSERT_FALSE(status.ok()) << "accepted, where this was expected: " << message;
  const std::string text(status.message());
  EXPECT_THAT(text, HasSubstr(std::string(message)));
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  EXPECT_LT(text.size(), 1000u);
}

void SetFloat(StoredTensor& tensor, size_t index, float value) {
  if (tensor.dtype == "F32") {
    std::memcpy(tensor.bytes.data() + 4 * index, &value, 4);
  } else {
    const uint16_t bits = EncodeBf16(value);
    std::memcpy(tensor.bytes.data() + 2 * index, &bits, 2);
  }
}

const float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();
const char kUp[] = "model.layers.0.mlp.up_proj.weight";  // [200, 136]
const char kUpScale[] = "model.layers.0.mlp.up_proj.weight_scale_inv";
const char kBias[] = "model.layers.1.mlp.gate.e_score_correction_bias";

struct Damage {
  const char* message;
  std::function<void(CheckpointDraft&)> apply;
};

const Damage kDamages[] = {
    // Names.
    {"tensor 'model.embed_tokens.weight': config.json asks for it, found none",
     [](CheckpointDraft& draft) { draft.Remove("model.embed_tokens.weight"); }},
    {"tensor 'lm_head.weight': config.json asks for it, found none",
     [](CheckpointDraft& draft) { draft.Remove("lm_head.weight"); }},
    {"tensor 'model.layers.2.mlp.experts.7.down_proj.weight': config.json asks for it",
     [](CheckpointDraft& draft) { draft.Remove("model.layers.2.mlp.experts.7.down_proj.weight"); }},
    {"tensor 'model.layers.1.mlp.gate.weight': expected the shape [256, 136], found [8, 136]",
     [](CheckpointDraft& draft) { draft.Reconfigure(R"("n_routed_experts": 8)", R"("n_routed_experts": 256)"); }},
    {"tensor 'model.layers.4.input_layernorm.weight': config.json asks for it",
     [](CheckpointDraft& draft) { draft.Reconfigure(R"("num_hidden_layers": 3)", R"("num_hidden_layers": 4096)"); }},
    {"tensor 'model.layers.3.eh_proj.weight': expected only tensors that config.json asks for",
     [](CheckpointDraft& draft) {
       draft.Reconfigure(R"("num_nextn_predict_layers": 1)", R"("num_nextn_predict_layers": 0)");
       draft.Reconfigure(R"("num_hidden_layers": 3)", R"("num_hidden_layers": 4)");
     }},
    // Shapes and dtypes.
    {"tensor 'model.layers.0.mlp.up_proj.weight': expected the shape [200, 136], found [136, 200]",
     [](CheckpointDraft& draft) {
       draft.Find(kUp).shape = {136, 200};
     }},
    {"tensor 'model.norm.weight': expected the shape [136], found [1, 136]",
     [](CheckpointDraft& draft) {
       draft.Find("model.norm.weight").shape = {1, 136};
     }},
    {"tensor 'model.embed_tokens.weight': expected the shape [332, 136], found [331, 136]",
     [](CheckpointDraft& draft) { draft.Reconfigure(R"("vocab_size": 331)", R"("vocab_size": 332)"); }},
    {"tensor 'lm_head.weight': expected BF16 or F32, found F16, whose range the residuals of this architecture leave; "
     "convert the checkpoint to BF16 or FP8",
     [](CheckpointDraft& draft) { draft.Find("lm_head.weight").dtype = "F16"; }},
    {"tensor 'lm_head.weight': expected BF16 or F32, found I16",
     [](CheckpointDraft& draft) { draft.Find("lm_head.weight").dtype = "I16"; }},
    {"tensor 'model.layers.0.mlp.up_proj.weight': expected BF16, F32 or F8_E4M3, found F8_E5M2",
     [](CheckpointDraft& draft) { draft.Find(kUp).dtype = "F8_E5M2"; }},
    {"tensor 'model.layers.1.mlp.gate.weight': expected BF16 or F32, found F8_E4M3",
     [](CheckpointDraft& draft) {
       StoredTensor& router = draft.Find("model.layers.1.mlp.gate.weight");
       router.dtype = "F8_E4M3";
       router.bytes.resize(router.bytes.size() / 2);
     }},
    // Values.
    {"tensor 'model.embed_tokens.weight': expected finite values, found inf at [2, 3]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find("model.embed_tokens.weight"), 2 * 136 + 3, kInfinity); }},
    {"tensor 'model.layers.2.input_layernorm.weight': expected finite values, found nan at [135]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find("model.layers.2.input_layernorm.weight"), 135, kNan); }},
    {"tensor 'model.layers.1.mlp.gate.e_score_correction_bias': expected finite values, found nan at [0]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find(kBias), 0, kNan); }},
    {"tensor 'model.layers.3.shared_head.head.weight': expected finite values, found -inf at [330, 135]",
     [](CheckpointDraft& draft) {
       SetFloat(draft.Find("model.layers.3.shared_head.head.weight"), 331 * 136 - 1, -kInfinity);
     }},
    {"tensor 'model.layers.0.mlp.up_proj.weight': expected finite values, found nan at [199, 135]",
     [](CheckpointDraft& draft) { draft.Find(kUp).bytes.back() = '\x7f'; }},
    {"tensor 'model.layers.0.mlp.up_proj.weight': expected finite values, found nan at [1, 0]",
     [](CheckpointDraft& draft) { draft.Find(kUp).bytes[136] = '\xff'; }},
    // Scales.
    {"tensor 'model.layers.0.mlp.up_proj.weight_scale_inv': expected beside its F8_E4M3 weight, found none",
     [](CheckpointDraft& draft) { draft.Remove(kUpScale); }},
    {"tensor 'model.layers.0.mlp.up_proj.weight_scale_inv': expected the shape [2, 2], found [4]",
     [](CheckpointDraft& draft) { draft.Find(kUpScale).shape = {4}; }},
    {"tensor 'model.layers.0.mlp.up_proj.weight_scale_inv': expected the shape [2, 2], found [1, 2]",
     [](CheckpointDraft& draft) {
       draft.Find(kUpScale).shape = {1, 2};
       draft.Find(kUpScale).bytes.resize(8);
     }},
    {"tensor 'model.layers.0.mlp.up_proj.weight_scale_inv': expected F32, BF16 or F8_E8M0, found I32",
     [](CheckpointDraft& draft) { draft.Find(kUpScale).dtype = "I32"; }},
    {"weight_scale_inv': expected finite scales above 0, found 0 at [0, 1]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find(kUpScale), 1, 0.0f); }},
    {"weight_scale_inv': expected finite scales above 0, found -1 at [1, 0]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find(kUpScale), 2, -1.0f); }},
    {"weight_scale_inv': expected finite scales above 0, found nan at [1, 1]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find(kUpScale), 3, kNan); }},
    {"weight_scale_inv': expected finite scales above 0, found inf at [0, 0]",
     [](CheckpointDraft& draft) { SetFloat(draft.Find(kUpScale), 0, kInfinity); }},
    {"tensor 'model.layers.0.mlp.up_proj.weight_scale_inv': expected beside an F8_E4M3 weight, found a weight of F32",
     [](CheckpointDraft& draft) {
       draft.Find(kUp).dtype = "F32";
       draft.Find(kUp).bytes.assign(200 * 136 * 4, '\0');
     }},
    {"tensor 'model.norm.weight_scale_inv': expected beside an F8_E4M3 weight, found a weight of BF16",
     [](CheckpointDraft& draft) {
       draft.tensors.push_back({"model.norm.weight_scale_inv", "F32", {2}, "12345678"});
     }},
};

TEST(DamagedCheckpoint, EachDamageIsNamed) {
  const CheckpointDraft sound = DraftTinyCheckpoint({.projections = DType::kE4M3});
  for (const Damage& damage : kDamages) {
    SCOPED_TRACE(damage.message);
    CheckpointDraft draft = sound;
    damage.apply(draft);
    const TemporaryDirectory directory;
    draft.Write(directory.path());
    ExpectOneLine(OpenIn(directory.path()), damage.message);
  }
}

TEST(DamagedCheckpoint, NanScaleOfPowersOfTwo) {
  CheckpointDraft draft = DraftTinyCheckpoint({.projections = DType::kE4M3, .scales = DType::kE8M0});
  draft.Find(kUpScale).bytes[1] = '\xff';
  const TemporaryDirectory directory;
  draft.Write(directory.path());
  ExpectOneLine(OpenIn(directory.path()), "expected finite scales above 0, found nan at [0, 1]");
}

TEST(DamagedCheckpoint, FifoAndDirectoryInPlaceOfTheWeights) {
  const TemporaryDirectory directory;
  DraftTinyCheckpoint({}).Write(directory.path());
  const std::filesystem::path file = directory.path() / "model.safetensors";
  std::filesystem::remove(file);
  ExpectOneLine(OpenIn(directory.path()), "expected model.safetensors or model.safetensors.index.json, found neither");
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  ExpectOneLine(OpenIn(directory.path()), "model.safetensors': expected a regular file, found a FIFO");
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  ExpectOneLine(OpenIn(directory.path()), "model.safetensors': expected a regular file, found a directory");
}

class SmallCheckpoint : public ::testing::Test {
 protected:
  SmallCheckpoint() {
    CheckpointDraft draft = DraftTinyCheckpoint({.vocab_size = 64,
                                                 .hidden_size = 16,
                                                 .num_layers = 1,
                                                 .num_mtp_layers = 0,
                                                 .dense_width = 8,
                                                 .num_experts = 0,
                                                 .projections = DType::kE4M3});
    draft.Write(directory_.path());
    header_bytes_ = 8 + SafetensorsHeader(draft.tensors).size();
  }

  absl::Status Open() const { return OpenIn(directory_.path()); }
  std::filesystem::path weights() const { return directory_.path() / "model.safetensors"; }

  TemporaryDirectory directory_;
  size_t header_bytes_ = 0;
};

// Written in place: cutting and rewriting a file thousands of times costs seconds of disk.
void FlipBit(const std::filesystem::path& file, size_t bit) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(bit / 8));
  const char byte = static_cast<char>(stream.get() ^ (1 << (bit % 8)));
  stream.seekp(static_cast<std::streamoff>(bit / 8));
  stream.put(byte);
  stream.close();
  CHECK(stream.good());
}

TEST_F(SmallCheckpoint, CutAnywhereIsRefused) {
  ASSERT_TRUE(Open().ok());
  ASSERT_GT(header_bytes_, 1000u);
  for (size_t length = std::filesystem::file_size(weights()); length-- > 0;) {
    if (length > header_bytes_ + 64 && length % 97 != 0) continue;
    std::filesystem::resize_file(weights(), length);
    ExpectOneLine(Open(), "model.safetensors");
    if (HasFailure()) FAIL() << "cut after " << length << " bytes";
  }
}

TEST_F(SmallCheckpoint, BytesBehindTheLastTensorAreRefused) {
  std::filesystem::resize_file(weights(), std::filesystem::file_size(weights()) + 1);
  ExpectOneLine(Open(), "bytes used");
}

TEST_F(SmallCheckpoint, EveryFlippedHeaderBitIsHarmless) {
  ResetLargestAllocation();
  int accepted = 0;
  for (size_t bit = 0; bit < 8 * std::min<size_t>(header_bytes_, 700); ++bit) {
    FlipBit(weights(), bit);
    const absl::Status status = Open();
    FlipBit(weights(), bit);
    accepted += status.ok() ? 1 : 0;
    if (!status.ok()) ExpectOneLine(status, directory_.path().string());
    if (HasFailure()) FAIL() << "bit " << bit;
  }
  EXPECT_TRUE(Open().ok());
  // Only the free text of __metadata__ may change unseen.
  EXPECT_LT(accepted, 8 * 16);
  EXPECT_GT(accepted, 0);
  EXPECT_LT(LargestAllocation(), 256u * 1024);
}

TEST_F(SmallCheckpoint, FlippedBitsAnywhereAreRefusedInOneLineOrLoad) {
  std::mt19937_64 random(11);
  std::uniform_int_distribution<size_t> bits(0, 8 * std::filesystem::file_size(weights()) - 1);
  int accepted = 0;
  for (int flip = 0; flip < 1000; ++flip) {
    const size_t bit = bits(random);
    FlipBit(weights(), bit);
    const absl::Status status = Open();
    FlipBit(weights(), bit);
    accepted += status.ok() ? 1 : 0;
    if (!status.ok()) ExpectOneLine(status, directory_.path().string());
    if (HasFailure()) FAIL() << "bit " << bit;
  }
  EXPECT_GT(accepted, 500) << "most bits are fractions of weights";
  EXPECT_LT(accepted, 1000) << "some bits are headers, exponents or scales";
}

TEST_F(SmallCheckpoint, EveryFlippedConfigBitIsHarmless) {
  const std::filesystem::path config = directory_.path() / "config.json";
  ResetLargestAllocation();
  int refused = 0;
  for (size_t bit = 0; bit < 8 * std::filesystem::file_size(config); ++bit) {
    FlipBit(config, bit);
    const absl::Status status = Open();
    FlipBit(config, bit);
    refused += status.ok() ? 0 : 1;
    if (!status.ok()) ExpectOneLine(status, directory_.path().string());
    if (HasFailure()) FAIL() << "bit " << bit;
  }
  EXPECT_TRUE(Open().ok());
  EXPECT_GT(refused, 1000);
  EXPECT_LT(LargestAllocation(), 256u * 1024);
}

}  // namespace
}  // namespace latentd
