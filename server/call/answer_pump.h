// The way of one answer to its client: at most one write in flight; what becomes ready behind a busy write is merged by
// its source; a reader that takes nothing is given up; the status ends the answer; a client that leaves even the status
// unread is reset. Knows neither a transport nor a format nor a clock, so tests drive it in virtual time.
//
// A source is asked for messages whenever the wire is free (Pump), or its one message is handed over (WriteWhole). A
// message is stuck if it is not written within `patience`: any message where the source limits each write, else only
// those that are written once the source is complete. Before that, the source deals with a slow reader: the scheduler
// bounds what waits for it.
//
// Threads: Pump, GiveUpWhole and ResetIfDue are called by one thread at a time, the call's egress thread. WriteWhole is
// called instead of the first Pump, by any thread. All others may be called by any thread at any time.
// Order: Finish is called once, by the object that decides the end (AnswerSource::Ended asks for it); no Pump begins
// after it, and ResetIfDue takes its place; nothing calls the wire once Close returned.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "base/clock.h"
#include "server/call/wire.h"

namespace latentd {

// How an answer's client took it.
enum class AnswerFate : uint8_t {
  kTakenWhole,
  kLeft,       // the client is gone, or nothing can be written to it any more
  kStuck,      // it took nothing for as long as Egress::patience
  kDisplaced,  // it had not taken its one message when others needed the room
};

// What an answer says: messages, and the status at the end.
class AnswerSource {
 public:
  using Messages = std::vector<std::string>;
  enum class WireState : uint8_t {
    kFree,
    kBusy,  // a write is in flight, or messages wait for one
  };
  struct Supply {
    bool is_complete = false;    // no message follows those that were added so far
    bool ends_at_once = false;   // where complete: it is too late for what is not written yet
    bool may_have_more = false;  // there may be more that is not woken for: it wants to be asked after the write
    bool limits_writes = false;  // a write may be stuck although the source is not complete
    TimePoint next = kNever;     // to be asked again by then
  };

  virtual ~AnswerSource() = default;

  // Adds the messages that are ready; may add none while the wire is busy, and merge them instead. The pump's thread.
  virtual Supply Fill(WireState wire, TimePoint now, Messages& messages) = 0;
  // Nothing can be written any more. Any thread, perhaps more than once.
  virtual void WireBroke() {}
  // The answer is over: the source is to end the call. `unread_bytes` were not written. Called perhaps more than once,
  // by different threads; the first one decides.
  virtual void Ended(AnswerFate fate, size_t unread_bytes) = 0;
};

// Has the pump pumped: soon, or by some time, which takes the place of the time before. Any thread; never blocks.
struct PumpTurns {
  std::function<void()> soon;
  std::function<void(TimePoint when)> by;
};

class AnswerPump {
 public:
  // All references outlive the last call.
  AnswerPump(AnswerSource& source, Wire& wire, Duration patience, PumpTurns turns);

  // Does whatever can be done now.
  void Pump(TimePoint now);

  // Writes the answer's only message, whose end is then decided without a turn: by the thread that tells of it.
  void WriteWhole(std::string message, TimePoint now);
  // From WriteWhole on, GiveUpWhole takes the place of Pump.
  bool is_writing_whole() const { return whole_due_.load() != kNever; }
  void GiveUpWhole(TimePoint now);
  // Others need the room of the only message: it is given up in the next turn, and its client reset at once.
  void Displace();
  bool is_displaced() const { return is_displaced_; }

  // The write in flight is over: the wire takes the next one, or it takes no more.
  void Written();
  void WriteFailed();
  // The client left.
  void Break();

  void Finish(const absl::Status& status, TimePoint now);
  void ResetIfDue(TimePoint now);
  // The wire is over by itself and may go.
  void Close();

 private:
  // A turn that found the write busy, or would find more to do after it, wants another one when it is over.
  enum class WriteState : uint8_t { kIdle, kBusy, kBusyAndTurnWanted };

  // False where the write in flight is over by now: there will be no turn after it.
  bool AskForTurnAfterWrite();
  void WriteNext(const AnswerSource::Supply& supply, TimePoint now);
  void LimitWrite(TimePoint now);
  void GiveUpIfStuck(TimePoint now);
  void End(AnswerFate fate);
  size_t UnreadBytes() const;

  AnswerSource& source_;
  Wire& wire_;
  const Duration patience_;
  const PumpTurns turns_;

  // The pump's thread only.
  AnswerSource::Messages messages_;  // to be written: few, or all that are left once the source is complete
  TimePoint stuck_since_ = kNever;

  std::atomic<WriteState> write_ = WriteState::kIdle;  // made busy by the pump's thread, idle by the wire's
  std::atomic<size_t> written_bytes_ = 0;              // of the last message that was handed to the wire
  std::atomic<bool> is_broken_ = false;                // nothing can be written any more
  std::atomic<bool> has_whole_ = false;
  std::atomic<bool> is_displaced_ = false;
  std::atomic<TimePoint> whole_due_ = kNever;

  std::mutex mutex_;  // guards both below, and the wire's Reset
  TimePoint reset_due_ = kNever;
  bool is_closed_ = false;
};

}  // namespace latentd
