#include "tests/engine/reuse/engine_run.h"

#include <limits>
#include <utility>

#include "base/check.h"

namespace latentd {
namespace {

EngineOptions OptionsOf(const RunLimits& limits) {
  CHECK_LT(limits.num_blocks, RecordedModel::kEngineBlocks);
  return {.scheduler = {.cache = {.num_blocks = limits.num_blocks + 1, .shuffle_seed = 1},
                        .max_step_tokens = limits.max_step_tokens,
                        .max_step_rows = limits.max_rows,
                        .max_step_logits = RecordedModel::kMaxTokens,
                        .chunk_tokens = limits.chunk_tokens,
                        .max_drafts = limits.max_drafts,
                        .max_context_tokens = limits.max_context},
          .step = {.max_step_seconds = std::numeric_limits<double>::infinity()},
          .vocabulary = {.eos_ids = kEosIds}};
}

}  // namespace

EngineRun::EngineRun(RecordedModel& model, const RunLimits& limits)
    : model_(model), step_duration_(limits.step_duration), engine_(model.executor(), OptionsOf(limits), metrics_) {
  model.Erase(limits.num_blocks + 1);
}

EngineRun::~EngineRun() { engine_.CancelAll(FinishReason::kCancelled); }

void EngineRun::Add(Request request) {
  request.received = clock_.Now();
  const absl::Status status = engine_.Add(std::move(request));
  ASSERT_TRUE(status.ok()) << status;
}

bool EngineRun::Step() {
  std::optional<StepInFlight> step = engine_.Begin(clock_.Now());
  if (!step) return false;
  clock_.Advance(step_duration_);
  engine_.Complete(*std::move(step), clock_, output_);
  for (const SequenceOutput& sequence : output_.sequences) {
    for (const SampleResult& token : output_.TokensOf(sequence)) answers_[sequence.id].Append(token);
  }
  for (const SequenceEnd& end : output_.ends) {
    EXPECT_NE(end.reason, FinishReason::kNonFiniteLogits) << "it read a slot that was never written";
    ends_.emplace(end.id, end);
  }
  const absl::Status status = scheduler().CheckInvariants();
  EXPECT_TRUE(status.ok()) << status;
  return true;
}

void EngineRun::RunToEnd() {
  while (Step()) {
  }
}

void EngineRun::ExpectFreshLatents() {
  scheduler().ForEach([this](const Sequence& sequence) {
    EXPECT_TRUE(model_.HasFreshLatents(sequence))
        << "request " << sequence.id().request << ", " << sequence.computed << " tokens computed";
  });
}

void EngineRun::Interrupt(std::vector<int32_t> prompt) {
  Request request = Draw(next_interruption_++, std::move(prompt), 1);
  const RequestId id = request.id;
  request.scheduling.priority = kHighestPriority;
  request.cache.stores = false;
  Add(std::move(request));
  while (!has_ended(id)) ASSERT_TRUE(Step());
}

std::vector<int32_t> RandomIds(std::mt19937_64& random, int count, int vocab_size) {
  std::uniform_int_distribution<int32_t> any(0, vocab_size - 1);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = any(random);
  return ids;
}

Request Draw(RequestId id, std::vector<int32_t> prompt, int num_tokens) {
  Request request{.id = id, .prompt = std::move(prompt)};
  request.sampling = {.temperature = 0.9f, .top_p = 0.95f, .frequency_penalty = 0.2f, .seed = 7};
  request.stopping = {.max_tokens = num_tokens, .ignore_eos = true};
  request.answer.num_top_logprobs = 0;
  return request;
}

Request Score(RequestId id, std::vector<int32_t> prompt) {
  Request request{.id = id, .kind = RequestKind::kScore, .prompt = std::move(prompt)};
  request.answer.num_prompt_logprobs = 0;
  return request;
}

}  // namespace latentd
