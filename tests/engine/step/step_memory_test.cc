// A decode step takes nothing from the heap, from the plan to the output that the publisher gets and gives back. The
// executor without a model takes nothing but lists of log-probabilities, so all else that is counted is the engine's.
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/loop/engine_loop.h"
#include "engine/loop/outbox.h"
#include "engine/step/engine.h"
#include "tests/support/allocation_count.h"
#include "tests/support/fake_executor.h"
#include "tests/support/manual_clock.h"

namespace latentd {
namespace {

constexpr int kRunning = 100;
constexpr int kWaiting = 300;
constexpr int kPrompt = 10;
constexpr int kSteps = 200;  // each sequence takes some blocks in them

// Each asks for something that a step has to prepare.
Request Generate(RequestId id) {
  Request request{.id = id, .deadline = TimePoint(std::chrono::hours(1))};
  request.prompt.assign(kPrompt, 1);
  request.sampling = {.temperature = 0.7f, .presence_penalty = 0.5f, .seed = id};
  request.logit_bias = {{.id = 3, .bias = 1.0f}};
  request.stopping.max_tokens = 2 * kSteps;
  request.stopping.min_tokens = kSteps / 2;
  request.stopping.stop_token_ids = {5000};
  return request;
}

EngineOptions Options(int max_drafts) {
  return {.scheduler = {.cache = {.num_blocks = 1 + kRunning * BlocksFor(kPrompt + 2 * kSteps)},
                        .max_step_tokens = kRunning * kPrompt,
                        .max_step_rows = kRunning,
                        .max_step_logits = kRunning * (1 + max_drafts),
                        .max_drafts = max_drafts,
                        .max_context_tokens = 4096},
          .step = {.first_tokens = kRunning * kPrompt},
          .vocabulary = {.eos_ids = {6000}}};
}

Commands Tell(RequestId id, ReaderState reader) {
  Commands commands;
  commands.of_requests[id].reader = reader;
  return commands;
}

// Turns as the engine thread runs them; what they give goes through the outbox and back.
class StepMemory : public testing::Test {
 protected:
  explicit StepMemory(int max_drafts = 0)
      : executor_({.num_blocks = Options(max_drafts).scheduler.cache.num_blocks, .draft_accuracy = 0.5}),
        loop_(std::make_unique<Engine>(executor_, Options(max_drafts), metrics_), clock_) {}

  void Submit(int num_top_logprobs, int max_drafts = 0) {
    Commands commands;
    for (RequestId id = 1; id <= kRunning + kWaiting; ++id) {
      Request request = Generate(id);
      request.answer.num_top_logprobs = num_top_logprobs;
      request.max_drafts = max_drafts;
      commands.submissions.push_back({.request = std::move(request), .stream = nullptr});
    }
    loop_.Apply(std::move(commands));
    for (int i = 0; i < 3; ++i) Step();  // buffers grow to their sizes
    ASSERT_EQ(turn_.output.num_rows, 0) << "it was moved out";
    ASSERT_EQ(num_rows_, kRunning);
  }

  void Step() {
    loop_.Begin({});
    clock_.Advance(std::chrono::milliseconds(1));
    loop_.Complete(turn_);
    num_rows_ = turn_.output.num_rows;
    num_tokens_ = turn_.output.tokens.size();
    outbox_.Put(turn_.opened, turn_.output);
    ASSERT_TRUE(outbox_.Await(letter_));
    outbox_.GiveBack(letter_);
  }

  ManualClock clock_;
  Metrics metrics_;
  FakeExecutor executor_;
  EngineLoop loop_;
  Outbox outbox_;
  Outbox::Letter letter_;
  Turn turn_;
  int num_rows_ = 0;
  size_t num_tokens_ = 0;
};

TEST_F(StepMemory, ADecodeStepTakesNothingFromTheHeap) {
  Submit(-1);
  // Readers fall behind and catch up. Made before: their memory is the senders'.
  std::vector<Commands> commands;
  for (int i = 3; i < kSteps; ++i) {
    const RequestId id = 1 + static_cast<RequestId>(i % kRunning);
    commands.push_back(Tell(id, ReaderState::kFull));
    commands.push_back(Tell(id, ReaderState::kCaughtUp));
  }
  auto next = commands.begin();
  const AllocationCount count;
  for (int i = 3; i < kSteps; ++i) {
    Step();
    loop_.Apply(std::move(*next++));
    loop_.Apply(std::move(*next++));
  }
  EXPECT_EQ(count.num_allocations(), 0U);
  EXPECT_EQ(num_rows_, kRunning);
  EXPECT_EQ(num_tokens_, static_cast<size_t>(kRunning));
}

class DraftingStepMemory : public StepMemory {
 protected:
  static constexpr int kDrafts = 2;
  DraftingStepMemory() : StepMemory(kDrafts) {}
};

// Half of the drafts are right, so that each step gives other numbers of tokens.
TEST_F(DraftingStepMemory, NorDoesOneWithDrafts) {
  Submit(-1, kDrafts);
  for (int i = 0; i < 10; ++i) Step();  // as many tokens as a step may have were in each buffer
  size_t num_tokens = 0;
  const AllocationCount count;
  for (int i = 0; i < kSteps / 2; ++i) {
    Step();
    num_tokens += num_tokens_;
  }
  EXPECT_EQ(count.num_allocations(), 0U);
  EXPECT_EQ(num_rows_, kRunning);
  EXPECT_GT(num_tokens, static_cast<size_t>(kRunning * kSteps / 2));
}

TEST_F(StepMemory, LogProbabilitiesAreMovedNotCopied) {
  Submit(1);
  constexpr int kCounted = 10;
  const AllocationCount count;
  for (int i = 0; i < kCounted; ++i) Step();
  EXPECT_EQ(count.num_allocations(), static_cast<size_t>(kCounted * kRunning)) << "the executor's, one a row";
}

}  // namespace
}  // namespace latentd
