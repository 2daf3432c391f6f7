// An Engine on a FakeExecutor, stepped by hand on a virtual clock that the test moves.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/step/engine.h"
#include "tests/support/fake_executor.h"
#include "tests/support/manual_clock.h"

namespace latentd {

inline EngineOptions SmallEngine() {
  return {.scheduler = {.cache = {.num_blocks = 101}, .max_context_tokens = 1024, .slow_consumer_seconds = 5}};
}

inline std::vector<int32_t> MakePrompt(int num_tokens, int salt = 0) {
  std::vector<int32_t> prompt;
  for (int i = 0; i < num_tokens; ++i) prompt.push_back((i * 31 + salt * 17) % 1000);
  return prompt;
}

inline Request MakeRequest(RequestId id, std::vector<int32_t> prompt, int max_tokens) {
  Request request{.id = id, .prompt = std::move(prompt)};
  request.sampling.seed = 100 + id;
  request.stopping.max_tokens = max_tokens;
  return request;
}

class EngineHarness {
 public:
  // `executor.num_blocks` is taken from the options.
  explicit EngineHarness(const EngineOptions& options = SmallEngine(), FakeExecutorOptions executor = {})
      : executor_(WithBlocks(std::move(executor), options)), engine_(executor_, options, metrics_) {}

  void Add(Request request) {
    request.received = now();
    metrics_.Update([](MetricsData& data) {
      ++data.requests_received["Generate"];
      data.requests_in_flight.Arrive(Phase::kQueued);
    });
    const absl::Status status = engine_.Add(std::move(request));
    ASSERT_TRUE(status.ok()) << status;
  }

  // A step that takes 10 ms.
  StepOutput Step() {
    std::optional<StepInFlight> step = engine_.Begin(now());
    return Complete(std::move(step));
  }
  // The second half of Step, for tests that act in between.
  StepOutput Complete(std::optional<StepInFlight> step) {
    Advance(std::chrono::milliseconds(10));
    StepOutput output;
    if (step) engine_.Complete(*std::move(step), clock_, output);
    for (const SequenceOutput& sequence : output.sequences) {
      for (const SampleResult& token : output.TokensOf(sequence)) tokens[sequence.id.request].push_back(token.id);
    }
    for (const SequenceEnd& end : output.ends) {
      EXPECT_TRUE(ends.emplace(end.id.request, end).second) << "second end of " << end.id.request;
    }
    return output;
  }

  void StepUntilIdle() {
    while (!Step().idle()) {
    }
  }

  Engine& engine() { return engine_; }
  MetricsData metrics() const { return metrics_.Snapshot(); }
  int64_t in_flight(Phase phase) const { return metrics().requests_in_flight.in(phase); }
  TimePoint now() const { return clock_.Now(); }
  void Advance(Duration duration) { clock_.Advance(duration); }

  std::map<RequestId, std::vector<int32_t>> tokens;
  std::map<RequestId, SequenceEnd> ends;

 private:
  static FakeExecutorOptions WithBlocks(FakeExecutorOptions executor, const EngineOptions& options) {
    executor.num_blocks = options.scheduler.cache.num_blocks;
    return executor;
  }

  Metrics metrics_;
  FakeExecutor executor_;
  Engine engine_;
  ManualClock clock_;
};

}  // namespace latentd
