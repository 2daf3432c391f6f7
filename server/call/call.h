// One call, from its headers to its status: it waits for a place, receives its one message, has it worked on by the
// pool, and answers. Its subclass decides how it answers. Owned by its transport; when that is done with the call
// (Done), the egress destroys both.
//
// The transport calls Receive when the headers are there, so a call is counted, and can be refused, timed and
// cancelled, before any of its message is taken in.
//
// Threads: the transport's hand over and nothing else; Handle runs on a thread of the pool, Pump on the call's egress
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>

#include "base/clock.h"
#include "server/access/authority.h"
#include "server/api/message_bytes.h"
#include "server/call/answer_pump.h"
#include "server/call/byte_budget.h"
#include "server/call/call_origin.h"
#include "server/call/call_record.h"
#include "server/call/egress.h"
#include "server/call/final_cause.h"
#include "server/call/intake.h"
#include "server/call/wire.h"
#include "server/call/work_pool.h"
#include "server/traces/span_queue.h"

namespace latentd {

// What all calls share. All outlive every transport.
struct CallParts {
  Intake& intake;
  WorkPool& pool;
  ByteBudget& answers;  // of answers in one message that wait to be read
  Egress& egress;
  Metrics& metrics;
  Entrance entrance = {};
  SpanQueue* spans = nullptr;  // of those that run the model; null: no traces are made
};

// A call as it arrives.
struct CallStart {
  CallWire& wire;  // owns the call, which has it released at its end
  std::string_view method;
  CallOrigin origin;
  TimePoint deadline = kNever;
};

class Call : public AnswerSource {
 public:
  ~Call() override = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // From the transport, on threads of its own: the first call of all.
  void Receive();
  // After CallWire::Read: the whole message is there, or there is none.
  void Received(size_t num_bytes);
  void ReceivedNothing();
  // After Wire::Write.
  void Written() { pump_.Written(); }
  void WriteFailed();
  // The client left, or the deadline passed. Once at most, before Done.
  void Left();
  // After Wire::Finish: the last call of all.
  void Done();

 protected:
  Call(CallStart start, const CallParts& parts);

  // Pool thread, once: works on the message and calls Refuse, Answer, or makes ready for Pump.
  virtual void Handle(MessageBytes request) = 0;
  // Egress thread: after Handle and at each wake until the call ends, or its one message is being written.
  virtual void Pump();
  // After this nothing may call the call. Any thread, once.
  virtual void Detach() {}
  // The outcome, in the metrics and the log, before the client can learn it.
  virtual void Count(const absl::Status& status) { record_.Finish(status, Cause::kAnswered); }

  // For answers in one message.
  Supply Fill(WireState, TimePoint, Messages&) override { return {}; }
  void Ended(AnswerFate fate, size_t unread_bytes) override;

  // Instead of an answer. A client that left is told that instead.
  void Refuse(absl::Status status);
  // The whole answer in one message; OK follows when the client has taken it, SLOW_CONSUMER after Egress::patience.
  // Refuses where it is larger than the client takes or answers that wait fill their budget.
  void Answer(std::string message);
  // Sends the status, unless one was sent.
  void End(const absl::Status& status);
  // For an answer of at most so many bytes, before any work on it. Not OK: refuse.
  absl::Status ReserveAnswer(size_t num_bytes, std::string_view fields);

  void EchoTrace() { wire_.AddMetadata(record_.EchoedTrace()); }
  bool has_left() const { return has_left_; }  // the client
  // What decides the cause of its end, for FinalCause: a subclass adds how the engine ended.
  CallEnd EndWith(AnswerFate fate) const;
  TimePoint received() const { return received_; }
  TimePoint deadline() const { return deadline_; }
  CallRecord& record() { return record_; }

  CallWire& wire_;
  const CallParts parts_;
  Egress::Slot slot_;
  AnswerPump pump_;

 private:
  enum class Stage : uint8_t { kArriving, kReceiving, kQueued, kHandling, kAnswering, kOver };

  Stage stage() const;
  bool MoveOn(Stage from, Stage to);
  void PumpSlot();
  // Before the message is there: reads it once there is a place, gives up where there is none or it takes too long.
  void Attend(Intake::Standing standing);
  // Refuses unless the message is there by now: then the pool has it, and it is the pool's thread that ends the call.
  void RefuseUnreceived(const absl::Status& status);
  void Enqueue(size_t num_bytes);
  void Work();
  void HandleMessage();
  // Where the engine ran nothing for it.
  absl::Status StatusOf(AnswerFate fate, size_t unread_bytes = 0) const;
  // By the thread that moved the stage to kOver, once.
  void Conclude(const absl::Status& status);
  // It waits for bytes that never come, or for the transport to tell that the client left.
  void RefuseEmpty();
  void Depart();

  const TimePoint received_;
  const TimePoint deadline_;
  CallRecord record_;
  Intake::Place place_;
  ByteBudget::Share answer_share_;              // of the answer in one message
  std::atomic<TimePoint> empty_since_{kNever};  // when it was found that no message comes
  std::atomic<bool> has_left_ = false;          // the client
  std::atomic<TimePoint> left_at_{kNever};

  mutable std::mutex mutex_;  // guards all below
  Stage stage_ = Stage::kArriving;
  std::optional<WorkPool::Ticket> ticket_;
  bool is_working_ = false;  // on a thread of the pool
  bool is_done_ = false;     // the transport is done with it
};

// A call whose request is not received, since it does not matter what it says.
class UnreadCall final : public Call {
 public:
  UnreadCall(CallStart start, const CallParts& parts) : Call(std::move(start), parts) {}
  using Call::Refuse;

 private:
  void Handle(MessageBytes) override {}
};

}  // namespace latentd
