// The engine on the chosen device (LATENTD_TEST_BACKEND) beside the engine on the CPU, on random checkpoints of the
// real attention geometry: r = 512, d_r = 64, 16 heads.
#include <cstdio>
#include <map>
#include <memory>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/step/engine.h"
#include "engine/step/model_executor.h"
#include "kernels/forwarding_device.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/support/manual_clock.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

constexpr int kNumBlocks = 24;
constexpr int kMaxTokens = 48;

TinyCheckpoint RealGeometry() {
  TinyCheckpoint options;
  options.seed = 11;
  options.hidden_size = 512;
  options.max_context = 1024;
  options.num_layers = 2;
  options.attention = {.num_heads = 16, .nope_width = 128, .rope_width = 64, .value_width = 128, .latent_width = 512};
  options.query_latent_width = 0;
  options.dense_width = 384;
  options.expert_width = 128;
  options.projections = DType::kE4M3;
  return options;
}

// Passes everything on, and counts the steps that were asked to be run and those whose launches were spelt out.
class CountingDevice final : public ForwardingDevice {
 public:
  explicit CountingDevice(std::unique_ptr<Device> to) : ForwardingDevice(*to), to_(std::move(to)) {}

  void Run(const StepShape& shape, const std::function<void()>& body) override {
    ++num_runs;
    shapes[shape] += 1;
    ForwardingDevice::Run(shape, [&] {
      ++num_bodies;
      body();
    });
  }

  int num_runs = 0;
  int num_bodies = 0;
  std::map<StepShape, int> shapes;

 private:
  const std::unique_ptr<Device> to_;
};

// An engine with a model of its own, stepped until all is answered.
class DeviceEngine {
 public:
  DeviceEngine(const std::filesystem::path& model, Backend backend, int max_drafts)
      : backend_(std::move(backend)), max_drafts_(max_drafts) {
    auto counting = std::make_unique<CountingDevice>(std::move(backend_.device));
    device_ = counting.get();
    backend_.device = std::move(counting);
    const ModelConfig config = OrDie(LoadModelConfig(model));
    const Checkpoint checkpoint = OrDie(Checkpoint::Open(model, config));
    const ModelLimits limits = {.num_blocks = kNumBlocks,
                                .max_tokens = kMaxTokens,
                                .max_rows = 8,
                                .max_logit_rows = 8 * (1 + max_drafts),
                                .max_context = config.max_context,
                                .loads_mtp = max_drafts > 0 ? MtpUse::kDraft : MtpUse::kNone};
    model_ = OrDie(Model::Load(checkpoint, config, limits, *backend_.device, *backend_.ops));
    executor_ = std::make_unique<ModelExecutor>(*model_, backend_);
    const EngineOptions options = {.scheduler = {.cache = {.num_blocks = kNumBlocks},
                                                 .max_step_tokens = kMaxTokens,
                                                 .max_step_rows = 8,
                                                 .max_step_logits = 8 * (1 + max_drafts),
                                                 .max_drafts = max_drafts,
                                                 .max_context_tokens = config.max_context}};
    engine_ = std::make_unique<Engine>(*executor_, options, metrics_);
  }

  // With as many drafts as the engine was made for.
  void Add(RequestId id, std::vector<int32_t> prompt, int max_tokens, int num_top_logprobs = -1) {
    Request request{.id = id, .prompt = std::move(prompt)};
    request.max_drafts = max_drafts_;
    request.sampling.temperature = 0.0f;
    request.answer.num_top_logprobs = num_top_logprobs;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    ASSERT_TRUE(engine_->Add(std::move(request)).ok());
  }
  StepOutput Step() {
    StepOutput output;
    std::optional<StepInFlight> step = engine_->Begin(clock_.Now());
    if (step) engine_->Complete(*std::move(step), clock_, output);
    for (const SequenceOutput& sequence : output.sequences) {
      for (const SampleResult& token : output.TokensOf(sequence)) results[sequence.id.request].push_back(token);
    }
    for (const SequenceEnd& end : output.ends) {
      reasons[end.id.request] = end.reason;
      drafted_tokens += static_cast<int>(end.drafted_tokens);
      accepted_tokens += static_cast<int>(end.accepted_tokens);
    }
    return output;
  }
  void StepUntilIdle() {
    while (!Step().idle()) {
    }
  }
  std::vector<int32_t> Ids(RequestId id) const {
    std::vector<int32_t> ids;
    for (const SampleResult& result : results.at(id)) ids.push_back(result.id);
    return ids;
  }
  std::vector<float> Logprobs(RequestId id) const {
    std::vector<float> logprobs;
    for (const SampleResult& result : results.at(id)) {
      logprobs.push_back(result.logprob);
      for (const TokenLogprob& top : result.top) logprobs.push_back(top.logprob);
    }
    return logprobs;
  }
  Engine& engine() { return *engine_; }
  const CountingDevice& device() const { return *device_; }

  std::map<RequestId, std::vector<SampleResult>> results;
  std::map<RequestId, FinishReason> reasons;
  int drafted_tokens = 0;
  int accepted_tokens = 0;

 private:
  Backend backend_;
  const int max_drafts_;
  CountingDevice* device_ = nullptr;
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelExecutor> executor_;
  Metrics metrics_;
  std::unique_ptr<Engine> engine_;
  const ManualClock clock_;
};

std::vector<int32_t> Prompt(int num_tokens, int salt) {
  std::vector<int32_t> ids;
  for (int i = 0; i < num_tokens; ++i) ids.push_back((i * 31 + salt * 17 + 2) % 331);
  return ids;
}

class EngineOnDevice : public testing::Test {
 protected:
  EngineOnDevice() { WriteTinyCheckpoint(RealGeometry(), model_.path()); }
  std::unique_ptr<DeviceEngine> OnDevice(int max_drafts = 0) {
    return std::make_unique<DeviceEngine>(model_.path(), MakeUnreservedTestBackend(), max_drafts);
  }
  std::unique_ptr<DeviceEngine> OnCpu(int max_drafts = 0) {
    return std::make_unique<DeviceEngine>(model_.path(), OrDie(MakeCpuBackend(2)), max_drafts);
  }

  TemporaryDirectory model_;
};

TEST_F(EngineOnDevice, GreedyTokensAreThoseOfTheCpu) {
  const auto device = OnDevice(), cpu = OnCpu();
  for (DeviceEngine* engine : {device.get(), cpu.get()}) {
    engine->Add(1, Prompt(5, 1), 12);
    engine->Add(2, Prompt(70, 2), 12);  // two chunks, and a second block
    engine->Add(3, Prompt(1, 3), 12);
    engine->StepUntilIdle();
  }
  for (const RequestId id : {1, 2, 3}) EXPECT_EQ(device->Ids(id), cpu->Ids(id)) << "sequence " << id;
}

TEST_F(EngineOnDevice, ASequenceAloneHasTheBitsOfTheSequenceInCompany) {
  const auto company = OnDevice(), alone = OnDevice();
  for (int id = 1; id <= 3; ++id) company->Add(id, Prompt(7 * id, id), 6, 3);
  company->StepUntilIdle();
  alone->Add(2, Prompt(14, 2), 6, 3);
  alone->StepUntilIdle();
  EXPECT_EQ(alone->Ids(2), company->Ids(2));
  EXPECT_TRUE(SameBytes(std::span<const float>(alone->Logprobs(2)), std::span<const float>(company->Logprobs(2))));
}

TEST_F(EngineOnDevice, ACancelInTheMiddleChangesNoOtherBits) {
  const auto undisturbed = OnDevice(), disturbed = OnDevice();
  undisturbed->Add(1, Prompt(9, 1), 8, 2);
  undisturbed->StepUntilIdle();
  disturbed->Add(1, Prompt(9, 1), 8, 2);
  disturbed->Add(2, Prompt(20, 2), 100);
  for (int step = 0; step < 4; ++step) disturbed->Step();
  disturbed->engine().Cancel(2);
  disturbed->StepUntilIdle();
  EXPECT_EQ(disturbed->reasons.at(2), FinishReason::kCancelled);
  EXPECT_LT(disturbed->results.at(2).size(), 6u);
  EXPECT_EQ(disturbed->Ids(1), undisturbed->Ids(1));
  EXPECT_TRUE(
      SameBytes(std::span<const float>(disturbed->Logprobs(1)), std::span<const float>(undisturbed->Logprobs(1))));
}

TEST_F(EngineOnDevice, DecodeStepsOfOneShapeAreRecordedOnce) {
  const auto engine = OnDevice();
  engine->Add(1, Prompt(4, 1), 10);
  engine->Add(2, Prompt(4, 2), 6);
  engine->StepUntilIdle();
  const CountingDevice& device = engine->device();
  EXPECT_EQ(device.num_runs, 9) << "the first token comes from the prompt's step";
  if (TestTraits().name == "cpu") {
    EXPECT_EQ(device.num_bodies, device.num_runs) << "a CPU records nothing";
  } else {
    EXPECT_EQ(device.num_bodies, static_cast<int>(device.shapes.size()));
    EXPECT_EQ(device.shapes.size(), 2u) << "of two rows, then of one";
  }
}

// Drafts change no token. A random model's are seldom right, so those that are verified are what is looked at.
TEST_F(EngineOnDevice, DraftsAreThoseOfTheCpuAndChangeNoToken) {
  const auto device = OnDevice(2), cpu = OnCpu(2), off = OnCpu();
  for (DeviceEngine* engine : {device.get(), cpu.get(), off.get()}) {
    engine->Add(1, Prompt(5, 1), 8);
    engine->Add(2, Prompt(52, 2), 8);  // two chunks
    engine->StepUntilIdle();
  }
  for (const RequestId id : {1, 2}) {
    EXPECT_EQ(device->Ids(id), off->Ids(id)) << "sequence " << id;
    EXPECT_EQ(cpu->Ids(id), off->Ids(id)) << "sequence " << id;
  }
  EXPECT_GT(device->drafted_tokens, 16);
  EXPECT_EQ(device->drafted_tokens, cpu->drafted_tokens);
  EXPECT_EQ(device->accepted_tokens, cpu->accepted_tokens);
  EXPECT_EQ(off->drafted_tokens, 0);
}

TEST_F(EngineOnDevice, StepsThatVerifyDraftsAreRecorded) {
  const auto engine = OnDevice(2);
  engine->Add(1, Prompt(4, 1), 7);
  engine->StepUntilIdle();
  const CountingDevice& device = engine->device();
  int num_verifying = 0;
  for (const auto& [shape, count] : device.shapes) num_verifying += shape.tokens_per_row > 1 ? count : 0;
  EXPECT_GT(num_verifying, 2);
  EXPECT_EQ(device.num_bodies, TestTraits().name == "cpu" ? device.num_runs : static_cast<int>(device.shapes.size()));
}

}  // namespace
}  // namespace latentd
