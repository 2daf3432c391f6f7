// The only way into the engine thread: requests, bounded in number and tokens, and commands that merge per request.
// Owned by EngineThread; any thread puts in, the engine thread takes. Only the engine thread waits.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/loop/mailbox.h"
#include "engine/loop/queue_limit.h"
#include "engine/request.h"
#include "engine/schedule/finish_reason.h"
#include "engine/step/sequence_status.h"
#include "engine/stream/publisher.h"
#include "engine/stream/token_stream.h"

namespace latentd {

struct Submission {
  Request request;
  std::shared_ptr<TokenStream> stream;
};

// Called once by the engine thread: must neither block nor call the engine.
using FlushListener = std::function<void(int64_t blocks_freed)>;

enum class ReaderState : uint8_t { kUnchanged, kFull, kCaughtUp };

// The commands for one request since the last Take, the newest word on its reader last.
struct RequestCommand {
  std::optional<FinishReason> end = {};  // kCancelled or kAborted, whichever was first
  TimePoint end_asked = kNever;          // when it was, if the sender told
  ReaderState reader = ReaderState::kUnchanged;
  std::vector<int32_t> cancelled = {};  // of its sequences, by their index: their clients want no more
};

// In this order. Bounded by the queue's bound, by the number of live requests and by that of RPCs that ask.
struct Commands {
  std::vector<Submission> submissions;
  std::map<RequestId, RequestCommand> of_requests;
  bool cancel_all = false;
  std::vector<StatusListener> describe;
  std::vector<FlushListener> flush;

  bool empty() const {
    return submissions.empty() && of_requests.empty() && !cancel_all && describe.empty() && flush.empty();
  }
};

class Inbox {
 public:
  explicit Inbox(const QueueLoad& most_queued) : queue_(most_queued) {}

  // Nothing where it was taken in; else this inbox and the scheduler's queue hold as much as they may, or StopAdmitting
  // came before.
  std::optional<Refusal> Submit(Submission submission, TimePoint now);
  void Cancel(RequestId id, FinishReason reason, TimePoint asked = kNever);
  // That sequence alone.
  void CancelSequence(SequenceId id);
  void Pause(RequestId id);
  void Resume(RequestId id);
  void CancelAll();
  void Describe(StatusListener listener);
  void FlushPrefixCache(FlushListener listener);
  // What the publisher asks for. LookAgain comes after Send of the same effects.
  void Apply(const Effects& effects) {
    Send(effects);
    LookAgain(effects);
  }
  void Send(const Effects& effects);
  void LookAgain(const Effects& effects);
  void StopAdmitting();
  void Close();

  // Engine thread only.
  Commands Take() { return commands_.Take(); }
  void WaitFor(Duration timeout) { commands_.WaitFor(timeout); }
  bool closed() const { return commands_.closed(); }
  // So much got its first rows, or ended before.
  void LeaveQueue(const QueueLoad& left, TimePoint now);

  QueueLoad waiting() const {
    return commands_.Locked([this] { return queue_.waiting(); });
  }
  uint64_t num_submitted() const {
    return commands_.Locked([this] { return num_submitted_; });
  }

 private:
  Mailbox<Commands> commands_;  // its lock also guards all below
  QueueLimit queue_;            // what was submitted and is not yet out of the scheduler's queue
  uint64_t num_submitted_ = 0;
  bool admitting_ = true;
};

}  // namespace latentd
