// Matrices that are checked, counted and given back while they are packed: the same findings, and the same packed
// bytes, for any number of threads.
#include "engine/model/checkpoint/lent_matrix.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"
#include "kernels/fp8.h"
#include "kernels/row_lender.h"
#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;

constexpr int kThreadCounts[] = {1, 2, 5};

struct Reads {
  void operator()(uint64_t read_bytes, uint64_t total_bytes) {
    const std::lock_guard lock(mutex);
    most_read = std::max(most_read, read_bytes);
    total = total_bytes;
  }
  std::mutex mutex;
  uint64_t most_read = 0;
  uint64_t total = 0;
};

struct Loaded {
  absl::Status status;
  uint64_t digest = 0;
  uint64_t packed_bytes_read = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_total = 0;
};

// As the daemon does it.
Loaded Load(const CheckpointDraft& draft, int num_threads) {
  const TemporaryDirectory directory;
  draft.Write(directory.path());
  const ModelConfig config = OrDie(LoadModelConfig(directory.path()));
  Reads reads;
  const Checkpoint checkpoint =
      OrDie(Checkpoint::Open(directory.path(), config, [&](uint64_t read, uint64_t total) { reads(read, total); }));
  const Backend backend = OrDie(MakeCpuBackend(num_threads));
  Loaded loaded;
  loaded.status = LoadWeights(checkpoint, config, MtpUse::kNone, *backend.device, *backend.ops).status();
  loaded.packed_bytes_read = reads.most_read;
  if (loaded.status.ok()) loaded.status = checkpoint.CheckUnread(num_threads);
  if (loaded.status.ok()) loaded.digest = checkpoint.Digest();
  loaded.bytes_read = reads.most_read;
  loaded.bytes_total = reads.total;
  return loaded;
}

void SetBf16(StoredTensor& tensor, size_t index, float value) {
  const uint16_t bits = EncodeBf16(value);
  std::memcpy(tensor.bytes.data() + 2 * index, &bits, sizeof(bits));
}

TEST(LentMatrix, EveryByteIsReadOnceOnAnyNumberOfThreads) {
  for (const TinyCheckpoint& options : {TinyCheckpoint{.num_shards = 3}, TinyCheckpoint{.projections = DType::kE4M3},
                                        TinyCheckpoint{.projections = DType::kInt4, .num_shards = 2},
                                        TinyCheckpoint{.num_mtp_layers = 0, .tied_embedding = true}}) {
    const CheckpointDraft draft = DraftTinyCheckpoint(options);
    uint64_t stored_bytes = 0;
    for (const StoredTensor& tensor : draft.tensors) stored_bytes += tensor.bytes.size();
    for (const int num_threads : kThreadCounts) {
      const Loaded loaded = Load(draft, num_threads);
      ASSERT_TRUE(loaded.status.ok()) << loaded.status;
      EXPECT_EQ(loaded.bytes_total, stored_bytes);
      EXPECT_EQ(loaded.bytes_read, stored_bytes);
      EXPECT_EQ(loaded.packed_bytes_read<stored_bytes, options.num_mtp_layers> 0);
      EXPECT_EQ(loaded.digest, Load(draft, 1).digest);
    }
  }
}

// Two of the values are in tensors that are packed in one call; the error is the first by name, not by time.
TEST(LentMatrix, FirstOfSeveralFaultsIsNamedOnAnyNumberOfThreads) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  const float infinity = std::numeric_limits<float>::infinity();
  SetBf16(draft.Find("model.layers.1.mlp.experts.7.up_proj.weight"), 5, infinity);
  SetBf16(draft.Find("model.layers.1.mlp.experts.3.gate_proj.weight"), 136 * 43 + 135, infinity);
  SetBf16(draft.Find("model.layers.1.mlp.experts.3.gate_proj.weight"), 136 * 2 + 7, infinity);
  SetBf16(draft.Find("model.layers.3.eh_proj.weight"), 0, infinity);
  for (const int num_threads : kThreadCounts) {
    EXPECT_THAT(
        std::string(Load(draft, num_threads).status.message()),
        HasSubstr("tensor 'model.layers.1.mlp.experts.3.gate_proj.weight': expected finite values, found inf at "
                  "[2, 7]"))
        << num_threads << " threads";
  }
}

TEST(LentMatrix, FaultOfALayerThatIsNotPackedIsFoundToo) {
  CheckpointDraft draft = DraftTinyCheckpoint({});
  SetBf16(draft.Find("model.layers.3.eh_proj.weight"), 271, -std::numeric_limits<float>::infinity());
  for (const int num_threads : kThreadCounts) {
    EXPECT_THAT(std::string(Load(draft, num_threads).status.message()),
                HasSubstr("tensor 'model.layers.3.eh_proj.weight': expected finite values, found -inf at [0, 271]"));
  }
}

TEST(LentMatrixDeathTest, ARowLentTwiceInOneReadingStopsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryDirectory directory;
  WriteTinyCheckpoint({}, directory.path());
  const ModelConfig config = OrDie(LoadModelConfig(directory.path()));
  const Checkpoint checkpoint = OrDie(Checkpoint::Open(directory.path(), config));
  const MatrixSource matrix = checkpoint.Matrix("model.layers.0.mlp.up_proj.weight");
  for (int reading = 0; reading < 2; ++reading) {
    const BorrowedRows all(matrix, 0, matrix.outputs);
  }
  EXPECT_DEATH(
      {
        { const BorrowedRows some(matrix, 0, 3); }
        const BorrowedRows all(matrix, 0, matrix.outputs);
      },
      "one reading of a matrix lends each of its rows once");
}

// Whatever the stretches are: words that a row's end cuts are cut in each of them.
TEST(LentMatrix, DigestIsTheSumOfItsParts) {
  constexpr size_t kRows = 301, kRowBytes = 13;
  std::vector<std::byte> bytes(kRows * kRowBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 % 251);
  const uint64_t whole = SampledDigest(bytes, kRowBytes, 0, kRows);
  for (const size_t stretch : {size_t{1}, size_t{7}, size_t{64}}) {
    uint64_t sum = 0;
    for (size_t first = 0; first < kRows; first += stretch) {
      sum += SampledDigest(bytes, kRowBytes, first, std::min(kRows, first + stretch));
    }
    EXPECT_EQ(sum, whole);
  }
  bytes[0] ^= std::byte{1};
  EXPECT_NE(SampledDigest(bytes, kRowBytes, 0, kRows), whole);
}

}  // namespace
}  // namespace latentd
