// A call that runs the model: Generate, GenerateOnce, Chat, Score. Admits its request, then is the sink of one token
// stream, whose output, of one answer or of several, its rendering turns into a stream of messages or into one.
//
// A reader of a stream is too slow, and ends with SLOW_CONSUMER, if for slow_consumer_seconds (Egress::patience) either
// its pending output stayed over the bound, so that the scheduler kept its sequences paused; or the answer was complete
// and one write, at most kMaxChunkBytes of output, did not get through. One that takes a write in that time goes on for
// as long as it likes. The status stands behind what was not read; after the same time again the call is reset. A
// reader that does not take its one message in that time ends with SLOW_CONSUMER, too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "engine/stream/token_stream.h"
#include "latentd/v1/models.pb.h"
#include "server/api/rendering.h"
#include "server/call/admission.h"
#include "server/call/call.h"
#include "server/call/live_call.h"

namespace latentd {

class EngineCall final : public Call, public TextSink {
 public:
  using Admit =
      std::function<absl::StatusOr<std::unique_ptr<LiveCall>>(MessageBytes request, const AdmissionRequest& arrival)>;

  // `model` and what `admit` refers to outlive the call.
  EngineCall(CallStart start, const CallParts& parts, const v1::Model& model, Admit admit,
             std::unique_ptr<Rendering> rendering);

  void Wake() override { parts_.egress.Wake(slot_); }

 private:
  void Handle(MessageBytes request) override;
  absl::Status Reserve(const ValidRequest& request);
  void Pump() override;
  void Detach() override;
  void Count(const absl::Status& status) override;

  Supply Fill(WireState wire, TimePoint now, Messages& messages) override;
  void WireBroke() override { live_->Cancel(); }
  void Ended(AnswerFate fate, size_t unread_bytes) override;
  enum class Taken : uint8_t { kNothing, kTheOnlyChunk, kOneOfMany };
  // The metadata, at once.
  void Begin();
  // With the first output, which tells what came from the prefix cache. A request that fails before has no messages.
  void Start(int cached_tokens, Messages& messages);
  // Adds the messages of the next chunk, if there is one.
  Taken TakeChunk(Messages& messages);

  const v1::Model& model_;
  const Admit admit_;
  const std::unique_ptr<Rendering> rendering_;
  std::unique_ptr<LiveCall> live_;  // once it was admitted

  // The egress thread only, until the call is over.
  bool has_begun_ = false;
  bool has_started_ = false;
  std::optional<StreamEnd> end_;  // once all output was taken
};

}  // namespace latentd
