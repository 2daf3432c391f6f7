// The only way into the engine thread: requests, bounded in number and tokens, and commands that merge per request.
// Owned by EngineThread; any thread puts in, the engine thread takes. Only the engine thread waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/loop/door.h"
#include "engine/loop/kv_event_stream.h"
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
  std::vector<KvSnapshotListener> kv_snapshots;

  bool empty() const {
    return submissions.empty() && of_requests.empty() && !cancel_all && describe.empty() && flush.empty() &&
           kv_snapshots.empty();
  }
};

class Inbox {
 public:
  explicit Inbox(DoorRules rules) : door_(std::move(rules)) {}

  // Nothing where it was taken in; else the door refuses it, or StopAdmitting came before.
  std::optional<Refusal> Submit(Submission submission, TimePoint now);
  void Cancel(RequestId id, FinishReason reason, TimePoint asked = kNever);
  // That sequence alone.
  void CancelSequence(SequenceId id);
  void Pause(RequestId id);
  void Resume(RequestId id);
  void CancelAll();
  void Describe(StatusListener listener);
  void FlushPrefixCache(FlushListener listener);
  void SnapshotKvEvents(KvSnapshotListener listener);
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
  // They got their first rows, or ended before.
  void LeaveQueue(std::span<const RequestId> left, TimePoint now);
  // The measured rate of prefill.
  void SetPace(double tokens_per_second) { tokens_per_second_.store(tokens_per_second, std::memory_order_relaxed); }

  QueueLoad waiting() const {
    return commands_.Locked([this] { return door_.waiting(); });
  }
  uint64_t num_submitted() const {
    return commands_.Locked([this] { return num_submitted_; });
  }

 private:
  Mailbox<Commands> commands_;  // its lock also guards all below
  Door door_;                   // knows what was submitted and is not yet out of the scheduler's queue
  uint64_t num_submitted_ = 0;
  bool admitting_ = true;

  std::atomic<double> tokens_per_second_{0.0};
};

}  // namespace latentd
