// One RPC, from its headers to its last word: it waits for a place, receives its one message, has it worked on by the
// pool, and answers. How it answers is the subclass's business. Deletes itself when gRPC is done.
//
// gRPC calls the handler when the headers are there, since all methods are registered as streams of bytes in both
// directions (byte_service.h); on the wire they are what the protocol says. So an RPC is counted, and can be refused,
// timed and cancelled, before any of its message is taken in.
//
// Threads: gRPC's hand over and nothing else; Handle runs on a thread of the pool, Pump on the RPC's egress thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/api/message_bytes.h"
#include "server/call/byte_budget.h"
#include "server/call/egress.h"
#include "server/call/intake.h"
#include "server/call/live_call.h"
#include "server/call/work_pool.h"
#include "server/grpc/call_context.h"
#include "server/grpc/cut_off.h"

namespace latentd {

using RpcReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// What all RPCs share. All outlive the server.
struct RpcParts {
  Intake& intake;
  WorkPool& pool;
  ByteBudget& answers;  // of answers in one message that wait to be read
  Egress& egress;
  Metrics& metrics;
};

class Rpc : public RpcReactor {
 public:
  // From the handler, once.
  void Receive();

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) override;
  void OnCancel() final;
  void OnDone() final;

 protected:
  Rpc(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method);
  ~Rpc() override = default;

  // Pool thread, once: works on the message and calls Refuse, Answer, or makes ready for Pump.
  virtual void Handle(MessageBytes request) = 0;
  // Egress thread: after Handle and at each wake until the RPC ends.
  virtual void Pump() {}
  // The client left after Handle, before the RPC ended. Any thread, once.
  virtual void ClientLeft() {}
  // After this nobody else may call the RPC. Any thread, once.
  virtual void Detach() {}
  // The outcome, in the metrics and the log, before the client can learn it.
  virtual void Count(const absl::Status& status) { record_->Finish(status, Cause::kAnswered); }

  // Instead of an answer. Of a client that left, it tells that.
  void Refuse(absl::Status status);
  // The whole answer in one message; OK follows when the client has taken it, SLOW_CONSUMER after Egress::patience.
  // Refuses where it is larger than the client takes or answers that wait fill their budget.
  void Answer(const google::protobuf::Message& message);
  // Of the write that decides between OK and CLIENT_CANCEL: done when the system has every byte of it, not when gRPC
  // has room for them.
  static grpc::WriteOptions LastWrite();
  // The last word, unless there was one: true if it is this.
  bool End(const absl::Status& status);
  // For an answer of at most so many bytes, before any work on it. Not OK: refuse.
  absl::Status ReserveAnswer(size_t num_bytes, std::string_view fields);

  void EchoTrace() { AddInitialMetadata(record_->EchoedTrace(), context_); }
  bool has_left() const { return has_left_; }  // the client
  absl::Status StatusOfLeaving() const;
  // The subclass counts the RPC from now on.
  CallRecord TakeRecord() { return *std::move(record_); }
  TimePoint received() const { return received_; }
  TimePoint deadline() const { return deadline_; }

  grpc::CallbackServerContext& context_;
  const RpcParts parts_;
  Egress::Slot slot_;

 private:
  enum class Stage : uint8_t { kArriving, kReceiving, kQueued, kHandling, kAnswering, kOver };

  Stage stage() const;
  bool MoveOn(Stage from, Stage to);
  void PumpSlot();
  // Before the message is there: reads it once there is a place, gives up where there is none or it takes too long.
  void Attend(Intake::Standing standing);
  // Refuses unless the message is there by now: then the pool has it, and it is the pool's thread that ends the RPC.
  void RefuseUnreceived(const absl::Status& status);
  void Enqueue();
  void Work();
  // Whoever moved the stage to kOver, once.
  void Conclude(const absl::Status& status);
  void GiveUpAnswer();
  // It waits for bytes that never come, or for gRPC to tell that the client left.
  void RefuseEmpty();
  void Depart();

  const TimePoint received_;
  const TimePoint deadline_;
  std::optional<CallRecord> record_;
  CutOff cut_off_;
  Intake::Place place_;
  grpc::ByteBuffer request_;
  std::atomic<TimePoint> empty_since_{kNever};  // when it was found that no message comes
  std::atomic<bool> has_left_ = false;          // the client
  std::atomic<TimePoint> left_at_{kNever};

  // The answer in one message.
  grpc::ByteBuffer answer_;
  ByteBudget::Share answer_share_;
  std::atomic<TimePoint> answer_due_{kNever};
  std::atomic<bool> makes_room_ = false;  // of the answer, for others

  mutable std::mutex mutex_;  // guards all below
  Stage stage_ = Stage::kArriving;
  std::optional<WorkPool::Ticket> ticket_;
  bool is_working_ = false;  // on a thread of the pool
  bool is_done_ = false;     // gRPC is done with it
};

// What a handler returns: an RPC of type Call, made of these, which begins to receive.
template <class Call, class... Arguments>
Call* Received(Arguments&&... arguments) {
  auto* call = new Call(std::forward<Arguments>(arguments)...);
  call->Receive();
  return call;
}

// An RPC whose request is not received, since it does not matter what it says.
RpcReactor* RefuseUnread(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method,
                         const absl::Status& status);

}  // namespace latentd
