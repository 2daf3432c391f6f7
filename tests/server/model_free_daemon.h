// A daemon behind its front end, on an executor that plays the model: the engine and its threads, the live requests,
// and the gate before them, which is closed. For tests in process. What holds a launch up lets go before this goes.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "base/clock.h"
#include "engine/loop/engine_thread.h"
#include "engine/loop/publisher_thread.h"
#include "engine/metrics.h"
#include "engine/step/engine.h"
#include "server/call/live_requests.h"
#include "server/call/serving_gate.h"
#include "tests/server/api/fake_model.h"
#include "tests/support/fake_executor.h"

namespace latentd {

struct ModelFreeDaemon {
  static constexpr FakeModelLimits kLimits{};
  using OnLaunch = std::function<void(const BatchInputs&, std::span<const SampleRow>)>;

  explicit ModelFreeDaemon(OnLaunch on_launch = {})
      : executor(
            {.num_blocks = kLimits.num_blocks, .vocab_size = kLimits.vocab_size, .on_launch = std::move(on_launch)}) {}

  void OpenGate() { gate.Open(in_service); }

  static EngineOptions Options() {
    return {.scheduler = {.cache = {.num_blocks = kLimits.num_blocks}, .max_context_tokens = kLimits.context}};
  }

  const ServedModel model = FakeModel(kLimits);
  Metrics metrics;
  FakeExecutor executor;
  PublisherThread publisher{nullptr, metrics};
  const SteadyClock clock{};
  EngineThread engine{std::make_unique<Engine>(executor, Options(), metrics), publisher, clock,
                      QueueLoad{.requests = 10, .tokens = 1000}};
  LiveRequests live{engine, 256 << 10};
  const ModelInService in_service{.model = model, .live = live};
  const LoadProgress progress{metrics, clock};
  ServingGate gate{progress};
};

}  // namespace latentd
