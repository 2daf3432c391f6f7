// Device::Run: a step that was recorded once for its shape sees the inputs of each later step.
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/ops/tokens.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kVocab = 70;

// The likeliest successor of token t is 3 t + 1, modulo the vocabulary.
int32_t SuccessorOf(int32_t id) { return (3 * id + 1) % kVocab; }

std::vector<int32_t> SuccessorsOf(const std::vector<int32_t>& ids) {
  std::vector<int32_t> successors;
  for (const int32_t id : ids) successors.push_back(SuccessorOf(id));
  return successors;
}

std::vector<float> SuccessorTable() {
  std::vector<float> table(size_t{kVocab} * kVocab);
  for (int id = 0; id < kVocab; ++id) table[static_cast<size_t>(id * kVocab + SuccessorOf(id))] = 1.0f;
  return table;
}

// Embed, GatherRows and Sample, with activations at fixed addresses as an engine has them.
class RecordedStep : public testing::Test {
 protected:
  std::vector<int32_t> Successors(const std::vector<int32_t>& ids) {
    const auto rows = static_cast<int>(ids.size());
    BatchInputs inputs = TokensWithIds(ids);
    for (int32_t i = rows - 1; i >= 0; --i) inputs.logit_tokens.push_back(i);
    const std::vector<SampleRow> samples(ids.size(), SampleRow{.rule = {.temperature = 0}});
    const Batch batch = backend_.ops->Upload(inputs, samples);
    backend_.device->Run({.num_rows = rows, .max_context = batch.max_context}, [&] {
      backend_.ops->Embed(batch, *table_, embedded_.Part(0, rows));
      backend_.ops->GatherRows(batch.logit_tokens, embedded_.Part(0, rows), logits_.Part(0, rows));
      backend_.ops->Sample(batch, logits_.Part(0, rows));
    });
    std::vector<SampleResult> results(ids.size());
    backend_.ops->Collect(results);
    std::vector<int32_t> successors;
    for (const SampleResult& result : results) successors.insert(successors.begin(), result.id);
    return successors;
  }

  std::vector<int32_t> RandomIds(int count) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random_() % kVocab));
    return ids;
  }

 private:
  static constexpr int kMaxRows = 16;
  std::mt19937 random_{41};  // fixed: a failure repeats
  Backend backend_ = MakeTestBackend(SmallLimits());
  std::vector<float> values_ = SuccessorTable();
  std::unique_ptr<const Matrix> table_ =
      OrDie(backend_.ops->PackTable({.dtype = DType::kF32,
                                     .outputs = kVocab,
                                     .inputs = kVocab,
                                     .bytes = reinterpret_cast<std::byte*>(&values_[0]),
                                     .scales = {}}));
  DeviceRows embedded_{backend_, kMaxRows, kVocab};
  DeviceRows logits_{backend_, kMaxRows, kVocab};
};

TEST_F(RecordedStep, EveryStepSeesItsOwnInputs) {
  for (int step = 0; step < 5; ++step) {
    const std::vector<int32_t> ids = RandomIds(4);
    EXPECT_EQ(Successors(ids), SuccessorsOf(ids)) << "step " << step;
  }
}

TEST_F(RecordedStep, ShapesDoNotShareARecording) {
  for (const int rows : {1, 8, 2, 16, 1, 2, 16, 8}) {
    const std::vector<int32_t> ids = RandomIds(rows);
    EXPECT_EQ(Successors(ids), SuccessorsOf(ids)) << rows << " rows";
  }
}

}  // namespace
}  // namespace latentd
