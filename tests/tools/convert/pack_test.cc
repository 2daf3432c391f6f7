// A packed checkpoint is its source: the same digest, the same logits to the bit. What is no packed file any more is
// refused in a line that says what to do.
#include "tools/convert/pack.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "engine/load/choose_drafts.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/packed_file.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"
#include "tests/support/model_session.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_variants.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

namespace fs = std::filesystem;

// A checkpoint and what pack made of it.
struct Pair {
  explicit Pair(const TinyCheckpoint& checkpoint, const std::function<void(CheckpointDraft&)>& change = nullptr) {
    CheckpointDraft draft = DraftTinyCheckpoint(checkpoint);
    if (change != nullptr) change(draft);
    draft.Write(source.path());
    bytes = OrDie(Pack({.from = source.path(), .to = packed}));
  }
  fs::path file() const { return packed / kPackedFileName; }

  TemporaryDirectory source, beside;
  fs::path packed = beside.path() / "packed";
  uint64_t bytes = 0;
};

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::StatusOr<Checkpoint> Open(const fs::path& directory) {
  return Checkpoint::Open(directory, OrDie(LoadModelConfig(directory)));
}

class EveryVariant : public ::testing::TestWithParam<TinyVariant> {};

// Those of all tokens, and of those behind them where the checkpoint can draft.
LogitRows LogitsOf(const fs::path& directory) {
  const ModelConfig config = OrDie(LoadModelConfig(directory));
  const bool can_draft = OrDie(Checkpoint::Open(directory, config)).can_draft();
  ModelSession session(directory, {.num_blocks = 8,
                                   .max_tokens = 64,
                                   .max_rows = 4,
                                   .max_logit_rows = 64,
                                   .mtp = can_draft ? MtpUse::kDraft : MtpUse::kNone});
  constexpr int kTokens = 24;
  std::vector<int32_t> ids;
  std::vector<int> all;
  for (int i = 0; i < kTokens; ++i) {
    ids.push_back(i * 7919 % config.vocab_size);
    all.push_back(i);
  }
  const int sequence = session.AddSequence();
  LogitRows rows = session.Step({{.sequence = sequence, .ids = ids, .wanted = all}});
  if (!can_draft) return rows;
  all.pop_back();
  for (auto& row : session.Draft({{.sequence = sequence, .ids = std::span(ids).subspan(1), .wanted = all}})) {
    rows.push_back(std::move(row));
  }
  return rows;
}

TEST_P(EveryVariant, HasTheLogitsOfItsSourceToTheBit) {
  const Pair pair(GetParam().checkpoint);
  EXPECT_TRUE(SameBytes(LogitsOf(pair.packed), LogitsOf(pair.source.path())));
}

INSTANTIATE_TEST_SUITE_P(Packed, EveryVariant, ::testing::ValuesIn(TinyVariants()),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(PackedInt4, EveryVariant,
                         ::testing::Values(TinyVariant{"int4", {.projections = DType::kInt4}},
                                           TinyVariant{"int4_experts",
                                                       {.projections = DType::kInt4, .only_experts_int4 = true}}),
                         [](const auto& test) { return test.param.name; });

TEST(Pack, TheRevisionIsTheSources) {
  const Pair pair({});
  const Checkpoint packed = OrDie(Open(pair.packed)), source = OrDie(Open(pair.source.path()));
  ASSERT_TRUE(source.CheckUnread(2).ok());
  EXPECT_EQ(packed.Digest(), source.Digest());
  EXPECT_EQ(packed.num_mtp_layers(), source.num_mtp_layers());
  EXPECT_EQ(ReadAll(pair.packed / "config.json"), ReadAll(pair.source.path() / "config.json"));
}

TEST(Pack, CopiesAreLeftOutUnlessAByteDiffers) {
  constexpr char kCopy[] = "model.layers.3.shared_head.head.weight";
  ASSERT_FALSE(OrDie(Open(Pair({}).packed)).Has(kCopy));
  const Pair pair({}, [&](CheckpointDraft& draft) { draft.Find(kCopy).bytes[0] ^= 1; });
  EXPECT_TRUE(OrDie(Open(pair.packed)).Has(kCopy));
  EXPECT_FALSE(OrDie(Open(pair.packed)).Has("model.layers.3.embed_tokens.weight"));
  EXPECT_TRUE(SameBytes(LogitsOf(pair.packed), LogitsOf(pair.source.path())));
}

TEST(Pack, TheSameSourceGivesTheSameBytes) {
  const Pair pair({});
  const fs::path again = pair.beside.path() / "again";
  EXPECT_EQ(OrDie(Pack({.from = pair.source.path(), .to = again})), pair.bytes);
  EXPECT_EQ(ReadAll(again / kPackedFileName), ReadAll(pair.file()));
  EXPECT_EQ(fs::file_size(pair.file()), pair.bytes);
}

TEST(Pack, APackedCheckpointIsNotPackedAgain) {
  const Pair pair({});
  EXPECT_THAT(std::string(Pack({.from = pair.packed, .to = pair.beside.path() / "again"}).status().message()),
              HasSubstr("found them packed already"));
  EXPECT_FALSE(fs::exists(pair.beside.path() / "again"));
}

// The daemon's answer to a packed file of which `damage` changed the bytes.
std::string ErrorAfter(const std::function<void(std::string& bytes)>& damage) {
  const Pair pair({});
  std::string bytes = ReadAll(pair.file());
  damage(bytes);
  WriteFile(pair.file(), bytes);
  return std::string(Open(pair.packed).status().message());
}

void SetHeader(std::string& bytes, size_t offset, uint32_t value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

TEST(DamagedPackedFile, OfAnotherLayoutIsRefused) {
  EXPECT_THAT(
      ErrorAfter([](std::string& bytes) { SetHeader(bytes, offsetof(PackedHeader, layout), kPackedLayout + 1); }),
      HasSubstr("pack the source again with this version's latent-convert"));
}

TEST(DamagedPackedFile, CutAnywhereIsRefused) {
  for (const size_t left : {size_t{1}, sizeof(PackedHeader), size_t{4096}}) {
    EXPECT_NE(ErrorAfter([=](std::string& bytes) { bytes.resize(left); }), "") << left;
  }
  EXPECT_THAT(ErrorAfter([](std::string& bytes) { bytes.pop_back(); }), HasSubstr("the file is cut"));
}

TEST(DamagedPackedFile, LongerThanItWasWrittenIsRefused) {
  EXPECT_THAT(ErrorAfter([](std::string& bytes) { bytes.push_back('\0'); }),
              HasSubstr("the file goes on behind its end; copy it again"));
}

TEST(DamagedPackedFile, NotFinishedIsRefused) {
  EXPECT_THAT(
      ErrorAfter([](std::string& bytes) { bytes.replace(0, sizeof(PackedHeader), sizeof(PackedHeader), '\0'); }),
      HasSubstr("one that was not finished"));
}

TEST(DamagedPackedFile, OfAnotherIndexIsRefused) {
  EXPECT_THAT(ErrorAfter([](std::string& bytes) { bytes[bytes.size() - 100] ^= 1; }), HasSubstr("the file is damaged"));
}

TEST(DamagedPackedFile, BesideAnotherConfigurationIsRefused) {
  const Pair pair({});
  WriteFile(pair.packed / "config.json", ReadAll(pair.packed / "config.json") + "\n");
  EXPECT_THAT(std::string(Open(pair.packed).status().message()), HasSubstr("found another one beside it"));
}

TEST(DamagedPackedFile, BesideWeightsIsRefused) {
  const Pair pair({});
  fs::copy_file(pair.source.path() / "model.safetensors", pair.packed / "model.safetensors");
  EXPECT_THAT(std::string(Open(pair.packed).status().message()), HasSubstr("remove one of them"));
}

// Either could be the stale one, also where the others could not be served.
TEST(DamagedPackedFile, BesideAnyTraceOfWeightsIsRefused) {
  for (const char* name : {"model-00002-of-00004.safetensors", "another.safetensors", "model.safetensors.index.json"}) {
    const Pair pair({});
    WriteFile(pair.packed / name, "{}");
    EXPECT_THAT(std::string(Open(pair.packed).status().message()),
                HasSubstr(absl::StrCat("found '", name, "' beside it; remove one of them")));
  }
}

TEST(DamagedPackedFile, BesideWhatIsNoWeightOfTheModelIsServed) {
  for (const char* name : {"adapter_model.safetensors", "consolidated.safetensors", "notes.json"}) {
    const Pair pair({});
    WriteFile(pair.packed / name, "{}");
    EXPECT_TRUE(Open(pair.packed).ok()) << name;
  }
}

TEST(DamagedPackedFile, WithChangedWeightsIsFoundByReadingThemAll) {
  const Pair pair({});
  const ModelConfig config = OrDie(LoadModelConfig(pair.packed));
  EXPECT_THAT(Checkpoint::FindProblems(pair.packed, config), SizeIs(0));
  std::string bytes = ReadAll(pair.file());
  bytes[bytes.size() / 2] ^= 0x10;
  WriteFile(pair.file(), bytes);
  EXPECT_TRUE(Open(pair.packed).ok());  // which reads none of them
  const std::vector<absl::Status> problems = Checkpoint::FindProblems(pair.packed, config);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(std::string(problems[0].message()), HasSubstr("expected the bytes that were packed"));
}

// A file whose digest is right, and whose index was made up.
void ChangeIndex(const Pair& pair, const std::function<void(PackedIndex& index)>& change) {
  std::string bytes = ReadAll(pair.file());
  PackedHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  PackedIndex index = OrDie(ParsePackedIndex(std::string_view(bytes).substr(header.index_begin)));
  change(index);
  bytes.resize(header.index_begin);
  bytes += PackedIndexText(index);
  header.file_bytes = bytes.size();
  header.index_digest = PackedDigest(std::as_bytes(std::span(bytes)).subspan(header.index_begin));
  std::memcpy(bytes.data(), &header, sizeof(header));
  WriteFile(pair.file(), bytes);
}

std::string ErrorOfIndex(const std::function<void(PackedIndex& index)>& change) {
  const Pair pair({});
  ChangeIndex(pair, change);
  return std::string(Open(pair.packed).status().message());
}

// The same of one whose weights are taken, too.
std::string ErrorOfTaking(const std::function<void(PackedIndex& index)>& change) {
  const Pair pair({});
  ChangeIndex(pair, change);
  const ModelConfig config = OrDie(LoadModelConfig(pair.packed));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(pair.packed, config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  return std::string(LoadWeights(checkpoint, config, MtpUse::kNone, *backend.device, *backend.ops).status().message());
}

PackedTensor& TensorIn(PackedIndex& index, std::string_view end) {
  const auto found = std::find_if(index.tensors.begin(), index.tensors.end(),
                                  [&](const PackedTensor& tensor) { return tensor.name.ends_with(end); });
  CHECK(found != index.tensors.end());
  return *found;
}

TEST(PackedIndex, ThatFitsIsRead) {
  EXPECT_EQ(ErrorOfIndex([](PackedIndex&) {}), "");
  EXPECT_EQ(ErrorOfTaking([](PackedIndex&) {}), "");
}

TEST(PackedIndex, WithATypeThatAWeightMayNotHaveIsRefused) {
  for (const std::string_view name : {"kv_b_proj.weight", "embed_tokens.weight", "lm_head.weight", "mlp.gate.weight"}) {
    const auto to_int4 = [&](PackedIndex& index) { TensorIn(index, name).dtype = DType::kInt4; };
    EXPECT_THAT(ErrorOfIndex(to_int4), HasSubstr("a type that such a weight may have, found INT4")) << name;
  }
  const auto to_fp8 = [](PackedIndex& index) { TensorIn(index, "embed_tokens.weight").dtype = DType::kE4M3; };
  EXPECT_THAT(ErrorOfIndex(to_fp8), HasSubstr("found F8_E4M3"));
  const auto without_scales = [](PackedIndex& index) { TensorIn(index, "o_proj.weight").dtype = DType::kE4M3; };
  EXPECT_THAT(ErrorOfIndex(without_scales), HasSubstr("bytes of scales, found 0"));
}

TEST(PackedIndex, WithOtherThanTheBytesOfAWeightIsRefused) {
  for (const std::string_view name : {"kv_b_proj.weight", "o_proj.weight", "experts.0.down_proj.weight"}) {
    const auto more = [&](PackedIndex& index) { TensorIn(index, name).begin -= PackedBytes::kAlignment; };
    EXPECT_THAT(ErrorOfTaking(more), HasSubstr("packed bytes, found")) << name;
    const auto fewer = [&](PackedIndex& index) { TensorIn(index, name).begin += PackedBytes::kAlignment; };
    EXPECT_THAT(ErrorOfTaking(fewer), HasSubstr("packed bytes, found")) << name;
  }
  const auto head_alone = [](PackedIndex& index) {
    PackedTensor& tensor = TensorIn(index, "kv_b_proj.weight");
    tensor.begin += (tensor.scales - tensor.begin) / 2;
  };
  EXPECT_THAT(ErrorOfTaking(head_alone), HasSubstr("packed bytes, found 0"));
}

bool IsOfLayer3(const PackedTensor& tensor) { return tensor.name.starts_with("model.layers.3."); }

// As earlier versions packed it.
TEST(PackedIndex, WithoutTheLayerThatDraftsIsServedWithoutDrafts) {
  const Pair pair({});
  const LogitRows expected = LogitsOf(pair.packed);
  ChangeIndex(pair, [](PackedIndex& index) { std::erase_if(index.tensors, IsOfLayer3); });
  const Checkpoint checkpoint = OrDie(Open(pair.packed));
  EXPECT_FALSE(checkpoint.can_draft());
  EXPECT_EQ(checkpoint.num_mtp_layers(), 1);
  constexpr std::ptrdiff_t kTokens = 24;
  EXPECT_TRUE(SameBytes(LogitsOf(pair.packed), LogitRows(expected.begin(), expected.begin() + kTokens)));

  const ChosenDrafts drafts = OrDie(ChooseDrafts({.speculate = "auto"}, checkpoint));
  EXPECT_EQ(drafts.max_drafts, 0);
  EXPECT_EQ(drafts.warning,
            "model.latentpack was packed without the layer that predicts further tokens; pack the source again with "
            "this version's latent-convert, or set speculate=off: nothing is drafted");
  EXPECT_EQ(OrDie(ChooseDrafts({.speculate = "off"}, checkpoint)).warning, "");
  EXPECT_THAT(std::string(ChooseDrafts({.speculate = "2"}, checkpoint).status().message()),
              HasSubstr("speculate=2: model.latentpack was packed without the layer"));
}

TEST(PackedIndex, WithAPartOfTheLayerThatDraftsIsRefused) {
  const auto without_one = [](PackedIndex& index) {
    std::erase_if(index.tensors, [](const PackedTensor& tensor) { return tensor.name.ends_with("eh_proj.weight"); });
  };
  EXPECT_THAT(ErrorOfIndex(without_one), HasSubstr("'model.layers.3.eh_proj.weight': expected it in the index"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) { index.num_mtp_layers = 0; }),
              HasSubstr("expected no layer that predicts further tokens, found one"));
}

TEST(Pack, APackedCheckpointIsLoadedTwice) {
  const Pair pair({.tied_embedding = true});
  const ModelConfig config = OrDie(LoadModelConfig(pair.packed));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(pair.packed, config));
  const Backend backend = OrDie(MakeCpuBackend(1));
  for (const MtpUse mtp : {MtpUse::kNone, MtpUse::kDraft, MtpUse::kNone, MtpUse::kDraft}) {
    EXPECT_EQ(LoadWeights(checkpoint, config, mtp, *backend.device, *backend.ops).status(), absl::OkStatus());
  }
}

// What profiles name calls by.
TEST(Pack, MatricesKeepTheirNames) {
  for (const DType dtype : {DType::kBf16, DType::kInt4}) {
    const Pair pair({.projections = dtype});
    const Checkpoint packed = OrDie(Open(pair.packed)), source = OrDie(Open(pair.source.path()));
    for (const char* name : {"model.embed_tokens.weight", "model.layers.0.self_attn.o_proj.weight"}) {
      EXPECT_EQ(packed.Matrix(name).name, name);
      EXPECT_EQ(source.Matrix(name).name, name);
    }
  }
}

TEST(PackedIndex, WithMoreMtpLayersThanItsModelIsRefused) {
  for (const int count : {2, 10'000'000}) {
    EXPECT_THAT(ErrorOfIndex([&](PackedIndex& index) { index.num_mtp_layers = count; }),
                HasSubstr(absl::StrCat("predict further tokens, found ", count)));
  }
}

TEST(PackedIndex, ThatDoesNotFitIsRefused) {
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) { index.tensors.pop_back(); }),
              HasSubstr("expected it in the index"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) { index.tensors[0].end = uint64_t{1} << 60; }),
              HasSubstr("before the index"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) { index.tensors[0].begin += 1; }), HasSubstr("before the index"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) { index.tensors[0].shape[1] += 1; }),
              HasSubstr("expected the shape"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) {
                index.tensors[0].shape = {1, 2, 3};
              }),
              HasSubstr("a matrix or a vector"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) { index.tensors.push_back(index.tensors[0]); }),
              HasSubstr("found twice"));
  EXPECT_THAT(ErrorOfIndex([](PackedIndex& index) {
                index.tensors.push_back(index.tensors[0]);
                index.tensors.back().name = "another";
              }),
              HasSubstr("tensors, found"));
  for (const char* text : {"[]", "", "{", R"({"tensors": 1})", R"({"tensors": [1]})", R"({"config": "12"})"}) {
    EXPECT_FALSE(ParsePackedIndex(text).ok()) << text;
  }
}

}  // namespace
}  // namespace latentd
