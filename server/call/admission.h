// How a request gets into the engine: one order for every front end.
//
//   drain, load   nothing is taken in while the server shuts down or has no model yet
//   parse         from bytes to the canonical request
//   validate      field by field, before anything is encoded
//   encode        the prompt, with the model's tokenizer and chat template
//   capacity      the context, the cache, the room for an answer in one message
//   submit        under a name of its own, into the engine's queue
//
// The protobuf messages of latentd.v1 are the canonical request: another front end translates what it takes in into
// them, and what comes out of TokenStreams with a Rendering of its own. Who calls, and whether they may, is asked
// before a byte of the message is read: Identify (server/call/identity).
//
// Owned by the service that it admits for; any thread. Never waits for the engine.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "base/clock.h"
#include "engine/stream/token_stream.h"
#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/api/request_validation.h"
#include "server/call/call_record.h"
#include "server/call/live_call.h"
#include "server/call/serving_gate.h"

namespace latentd {

// The call whose request asks to be admitted.
struct AdmissionRequest {
  CallRecord& record;
  TimePoint received{};
  TimePoint deadline = kNever;                         // of the call; the message may have a sooner one
  absl::StatusOr<std::string> tenant = std::string();  // whom the call is for
  TextSink* sink = nullptr;                            // woken from the submission on, perhaps before Admit returns
  // Takes room for the answer. Not OK: refuse.
  std::function<absl::Status(const ValidRequest& request)> reserve;
};

class Admission {
 public:
  // `gate` must outlive it.
  explicit Admission(const ServingGate& gate) : gate_(gate) {}

  // From here on everything is refused with DRAINING, requests that are being received included.
  void Stop() { is_stopped_ = true; }

  // Before a message is received: what would be refused whatever it says.
  absl::StatusOr<const ModelInService*> FindModel() const;

  // The first steps, for requests that the engine does not see, too. Message is one of those of latentd.v1.
  template <class Message>
  absl::StatusOr<Message> Parse(MessageBytes bytes, const ServedModel& model) const;

  // All steps, on a thread of the work pool. Message is GenerateRequest, ChatRequest or ScoreRequest.
  template <class Message>
  absl::StatusOr<std::unique_ptr<LiveCall>> Admit(MessageBytes bytes, const AdmissionRequest& arrival) const;

  // The same for a front end with messages of its own: `translate` parses, what it makes is validated as any other.
  using Translate = std::function<absl::StatusOr<v1::GenerateRequest>(const ServedModel& model)>;
  absl::StatusOr<std::unique_ptr<LiveCall>> AdmitTranslated(const Translate& translate,
                                                            const AdmissionRequest& arrival) const;

 private:
  // `make_message` makes one of latentd.v1 that was checked, for the model that is served.
  template <class Make>
  absl::StatusOr<std::unique_ptr<LiveCall>> AdmitWith(const Make& make_message, const AdmissionRequest& arrival) const;

  const ServingGate& gate_;
  std::atomic<bool> is_stopped_ = false;
};

}  // namespace latentd
