// The only way into the engine thread: requests, bounded in number, and commands that merge per sequence. Owned by
// EngineThread; any thread puts in, the engine thread takes. Nobody waits but the engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <absl/status/status.h>

#include "engine/clock.h"
#include "engine/mailbox.h"
#include "engine/schedule/finish_reason.h"
#include "engine/schedule/request.h"
#include "engine/token_stream.h"

namespace latentd {

struct Submission {
  Request request;
  std::shared_ptr<TokenStream> stream;
};

enum class ReaderState : uint8_t { kUnchanged, kFull, kCaughtUp };

// What was asked of one sequence since the last Take, the newest word on its reader last.
struct SequenceCommand {
  std::optional<FinishReason> end = {};  // kCancelled or kAborted, whichever was first
  ReaderState reader = ReaderState::kUnchanged;
};

// In this order. Bounded by the queue's bound and by the number of live sequences.
struct Commands {
  std::vector<Submission> submissions;
  std::map<SequenceId, SequenceCommand> of_sequences;
  bool cancel_all = false;

  bool empty() const { return submissions.empty() && of_sequences.empty() && !cancel_all; }
};

class Inbox {
 public:
  explicit Inbox(size_t max_queued_requests) : max_queued_(max_queued_requests) {}

  // RESOURCE_EXHAUSTED where this inbox and the scheduler's queue hold as many as they may, UNAVAILABLE after
  // StopAdmitting.
  absl::Status Submit(Submission submission);
  void Cancel(SequenceId id, FinishReason reason);
  void Pause(SequenceId id);
  void Resume(SequenceId id);
  void CancelAll();
  void StopAdmitting();
  void Close();

  // Engine thread only.
  Commands Take() { return commands_.Take(); }
  void WaitFor(Duration timeout) { commands_.WaitFor(timeout); }
  bool closed() const { return commands_.closed(); }
  // So many requests got their first rows, or ended before.
  void LeaveQueue(size_t num_requests);

  uint64_t num_submitted() const {
    return commands_.Locked([this] { return num_submitted_; });
  }

 private:
  const size_t max_queued_;
  Mailbox<Commands> commands_;  // its lock also guards all below
  size_t num_queued_ = 0;       // submitted and not yet out of the scheduler's queue
  uint64_t num_submitted_ = 0;
  bool admitting_ = true;
};

}  // namespace latentd
