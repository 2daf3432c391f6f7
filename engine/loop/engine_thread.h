// The thread that runs the EngineLoop, and its bounded inbox: the only way in. Every method may be called by any thread
// and never waits, but for AwaitIdle. Owns the Engine, which only this thread touches. At the end: StopAdmitting,
// AwaitIdle, CancelAll for what is left, then the destructor.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/loop/engine_loop.h"
#include "engine/loop/inbox.h"
#include "engine/loop/kv_event_stream.h"
#include "engine/loop/publisher_thread.h"
#include "engine/loop/queue_limit.h"
#include "engine/loop/step_progress.h"
#include "engine/request.h"
#include "engine/schedule/flight_recorder.h"
#include "engine/schedule/invariant_watch.h"
#include "engine/schedule/scheduler.h"
#include "engine/step/engine.h"
#include "engine/stream/token_stream.h"

namespace latentd {

// Checks of the engine between two steps, sampled by an InvariantWatch. Both on the engine thread.
struct EngineChecks {
  std::function<absl::Status(const Scheduler&)> check = {};  // none: nothing is checked
  // The check failed: called once, and nothing is checked after it.
  std::function<void(const absl::Status& broken, const FlightRecorder&)> on_broken = {};
};

class EngineThread {
 public:
  // Starts the publisher's thread, then its own. `publisher` and `clock` must outlive it. Tenants' quotas are those of
  // the engine's scheduler.
  EngineThread(std::unique_ptr<Engine> engine, PublisherThread& publisher, const Clock& clock,
               const QueueLoad& most_queued, EngineChecks checks = {});
  // Ends whatever is left with kDraining, joins, then stops the publisher: each stream has its end by then.
  ~EngineThread();

  RequestId NextRequestId() { return ++last_id_; }

  // Nothing where it was taken in: `stream` gets exactly one chunk with an end then, whatever happens later.
  std::optional<Refusal> Submit(Request request, std::shared_ptr<TokenStream> stream);
  void Cancel(RequestId id, FinishReason reason = FinishReason::kCancelled) { inbox_.Cancel(id, reason, clock_.Now()); }
  // The reader of a full stream caught up: its sequence may get rows again.
  void Resume(RequestId id) { inbox_.Resume(id); }

  // `listener` learns between two steps about every request that was submitted before and has not ended.
  void Describe(StatusListener listener) { inbox_.Describe(std::move(listener)); }
  // Forgets every cached prefix that no request holds; `listener` learns how many blocks that freed.
  void FlushPrefixCache(FlushListener listener) { inbox_.FlushPrefixCache(std::move(listener)); }
  // `listener` learns all that a reader of kv_events() may know between two steps.
  void SnapshotKvEvents(KvSnapshotListener listener) { inbox_.SnapshotKvEvents(std::move(listener)); }
  // Submitted and still without a first step.
  QueueLoad waiting() const { return inbox_.waiting(); }
  // For a watchdog on any thread.
  const StepProgress& progress() const { return progress_; }
  const FlightRecorder& recorder() const { return loop_.engine().scheduler().recorder(); }
  // For a KvEventReader, which must go first.
  KvEventStream& kv_events() { return kv_events_; }

  // No Submit succeeds from here on; what was admitted goes on.
  void StopAdmitting() { inbox_.StopAdmitting(); }
  // Blocks until no request is left or the deadline passed; true in the first case.
  bool AwaitIdle(TimePoint deadline);
  // Ends whatever is left with FinishReason::kDraining.
  void CancelAll() { inbox_.CancelAll(); }

 private:
  void Run();
  // True once there is nothing to do.
  bool RunTurn();
  void CheckInvariants();

  PublisherThread& publisher_;
  const Clock& clock_;
  Inbox inbox_;
  StepProgress progress_;
  std::atomic<RequestId> last_id_{0};

  // Engine thread only, but for the capacity, which never changes, and the recorder.
  EngineLoop loop_;
  KvEventStream kv_events_;
  Turn turn_;
  EngineChecks checks_;
  InvariantWatch watch_;

  std::thread thread_;
};

}  // namespace latentd
