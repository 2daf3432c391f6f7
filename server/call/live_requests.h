// The requests that this process is answering, by name: from admission until the transport is done with the call. A
// name is claimed before its request is submitted, and released when its call goes. Owned by ModelRuntime; any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "engine/loop/engine_thread.h"
#include "engine/request.h"
#include "engine/schedule/finish_reason.h"
#include "engine/stream/token_stream.h"

namespace latentd {

struct LiveRequest {
  std::string request_id;
  std::string method;  // "Generate", …
  RequestId id = 0;
  TimePoint received{};
  int prompt_tokens = 0;
  int priority = 0;
  std::string tenant = {};  // empty: it named none
  std::shared_ptr<const TokenStream> stream;
};

class LiveRequests {
 public:
  // The engine must outlive this. `max_pending_bytes`: output of one reader that may wait before its sequence pauses;
  // `max_backlog_bytes`: of all readers, before those with much of it pause.
  LiveRequests(EngineThread& engine, size_t max_pending_bytes, size_t max_backlog_bytes = size_t{1} << 30);

  EngineThread& engine() { return engine_; }
  size_t max_pending_bytes() const { return max_pending_bytes_; }
  size_t max_backlog_bytes() const { return max_backlog_bytes_; }
  // A name for a request that came without one.
  std::string MakeName(RequestId id) const;

  // False if a live request has the name.
  bool Claim(LiveRequest request);
  void Release(const std::string& request_id);

  // Tells the engine to end it for this reason; false where it is unknown or computed already.
  bool Abort(const std::string& request_id, FinishReason reason = FinishReason::kAborted);
  std::vector<LiveRequest> List() const;
  size_t size() const;

 private:
  EngineThread& engine_;
  const size_t max_pending_bytes_;
  const size_t max_backlog_bytes_;
  const std::string prefix_;  // of this process

  mutable std::mutex mutex_;
  std::unordered_map<std::string, LiveRequest> live_;  // guarded by mutex_
};

}  // namespace latentd
