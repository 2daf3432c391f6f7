// A decode step takes nothing from the heap, from the plan to the output that the publisher gets. The executor without
// a model takes nothing either, so all that is counted is the engine's.
#include <chrono>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

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

TEST(Engine, ADecodeStepTakesNothingFromTheHeap) {
  const int num_blocks = 1 + kRunning * BlocksFor(kPrompt + 2 * kSteps);
  const EngineOptions options = {.scheduler = {.pool = {.num_blocks = num_blocks},
                                               .max_step_tokens = kRunning * kPrompt,
                                               .max_step_rows = kRunning,
                                               .max_step_logits = kRunning,
                                               .max_context_tokens = 4096},
                                 .step = {.first_tokens = kRunning * kPrompt},
                                 .vocabulary = {.eos_ids = {6000}}};
  FakeExecutor executor({.num_blocks = num_blocks});
  Metrics metrics;
  ManualClock clock;
  Engine engine(executor, options, metrics);
  for (RequestId id = 1; id <= kRunning + kWaiting; ++id) ASSERT_TRUE(engine.Add(Generate(id)).ok());
  StepOutput output;
  const auto step = [&] {
    std::optional<StepInFlight> in_flight = engine.Begin(clock.Now());
    clock.Advance(std::chrono::milliseconds(1));
    ASSERT_TRUE(in_flight.has_value());
    engine.Complete(*std::move(in_flight), clock, output);
  };
  for (int i = 0; i < 3; ++i) step();  // buffers grow to their sizes
  ASSERT_EQ(output.num_rows, kRunning);
  const AllocationCount count;
  for (int i = 3; i < kSteps; ++i) {
    step();
    // Readers fall behind and catch up.
    engine.Pause(1 + static_cast<RequestId>(i % kRunning));
    engine.Resume(1 + static_cast<RequestId>(i % kRunning));
  }
  EXPECT_EQ(count.num_allocations(), 0U);
  EXPECT_EQ(output.num_rows, kRunning);
  EXPECT_EQ(output.tokens.size(), static_cast<size_t>(kRunning));
  engine.CancelAll(FinishReason::kCancelled);
}

}  // namespace
}  // namespace latentd
