// A request's way through the engine: it has an id there, a stream of output, and a name that no other live request
// has. Owned by the Call that it belongs to; the name is free again when it goes. Submit comes first, Detach last.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/stream/token_stream.h"
#include "server/api/request_validation.h"
#include "server/call/call_record.h"
#include "server/call/live_requests.h"
#include "server/call/wire.h"

namespace latentd {

class LiveCall {
 public:
  // Both outlive it.
  LiveCall(LiveRequests& live, CallRecord& record) : live_(live), record_(record) {}
  ~LiveCall();

  // Claims the name and hands the request over; `sink` is woken from then on, perhaps before this returns. The request
  // expires at `deadline` at the latest.
  absl::Status Submit(ValidRequest request, TimePoint deadline, TextSink* sink);
  // Its output is not waited for any more. Any thread.
  void Cancel() { live_.engine().Cancel(id_); }
  // No wake after this.
  void Detach() { stream_->Detach(); }

  std::optional<StreamChunk> Take();
  // The engine adds no more.
  bool is_complete() const { return stream_->has_end(); }

  const std::string& request_id() const { return request_id_; }
  const ValidRequest& request() const { return request_; }  // its prompt and parameters moved on
  int prompt_tokens() const { return prompt_tokens_; }

  // Request id and trace, for the client to see before the first message.
  Metadata InitialMetadata() const;

 private:
  LiveRequests& live_;
  CallRecord& record_;
  ValidRequest request_;
  RequestId id_ = 0;
  std::string request_id_;
  int prompt_tokens_ = 0;
  std::shared_ptr<TokenStream> stream_;
};

}  // namespace latentd
