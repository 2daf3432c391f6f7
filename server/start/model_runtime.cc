#include "server/start/model_runtime.h"

#include <utility>

#include "engine/step/engine.h"
#include "engine/stream/token_stream.h"
#include "server/net/message_limit.h"
#include "server/start/describe_model.h"

namespace latentd {

// A reader's pending output is cut into chunks, each of which is a message within gRPC's usual limit.
static_assert(kMaxChunkBytes <= size_t{kDefaultPendingBytes} && kDefaultPendingBytes <= kMaxMessageBytes);

namespace {

EngineChecks ChecksOf(const ModelRuntime::Output& output) {
  return {.check = [](const Scheduler& scheduler) { return scheduler.CheckInvariants(); },
          .on_broken = [&alarm = output.alarm, &dumps = output.dumps](
                           const absl::Status& broken,
                           const FlightRecorder& recorder) { alarm.Raise(broken, recorder, dumps); }};
}

}  // namespace

ModelRuntime::ModelRuntime(std::unique_ptr<LoadedModel> loaded, const Config& config, const Clock& clock,
                           const Output& output)
    : loaded_(std::move(loaded)),
      served_(TakeServedModel(config, *loaded_)),
      model_executor_(*loaded_->model, loaded_->chosen.backend),
      executor_(model_executor_, clock),
      publisher_(served_.tokenizer.get(), output.metrics),
      engine_(std::make_unique<Engine>(executor_, loaded_->engine, output.metrics), publisher_, clock,
              {.requests = config.max_queued_requests, .tokens = loaded_->max_queued_tokens}, ChecksOf(output)),
      live_(engine_, static_cast<size_t>(config.max_pending_bytes), output.max_backlog_bytes),
      serving_{.model = served_, .live = live_, .profiled_ops = loaded_->profiled_ops} {}

}  // namespace latentd
