// The answer of Generate and Chat: the sink of one token stream, written by its egress thread with at most one write in
// flight; what becomes ready behind a busy write is merged into the next Delta. Deletes itself when gRPC is done.
//
// A reader is too slow, and ends with SLOW_CONSUMER, if for slow_consumer_seconds (Egress::patience) either its pending
// output stayed over the bound, so that its sequence stayed paused: the scheduler's business; or the answer was
// complete and one write, at most kMaxChunkBytes of output, did not get through. One that takes a write in that time
// goes on for as long as it likes. The status stands behind what was not read; after the same time again the stream is
// reset.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include <grpcpp/support/byte_buffer.h>

#include "engine/stream/token_stream.h"
#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/grpc/engine_run.h"
#include "server/grpc/rpc.h"

namespace latentd {

class StreamWriter final : public Rpc, public TextSink {
 public:
  StreamWriter(grpc::CallbackServerContext& context, const RpcParts& rpc, EngineRpcParts parts);

  void Wake() override { parts_.egress.Wake(slot_); }
  void OnWriteDone(bool ok) override;

 private:
  // A pump that found the write busy, or would find more to do after it, wants one when it is done.
  enum class Write : uint8_t { kIdle, kBusy, kBusyAndPumpWanted };

  void Handle(MessageBytes request) override;
  void Pump() override;
  void ClientLeft() override;
  void Detach() override { run_.Detach(); }
  void Count(const absl::Status& status) override;

  void SendStart();
  // False where the write in flight is done: there will be no pump after it.
  bool PumpAfterWrite();
  bool TakeChunk();
  void WriteNext();
  // A client that reads nothing holds its stream only for so long once the answer is complete.
  void LimitWrite();
  void GiveUpIfStuck();
  size_t UnreadBytes() const;
  void EndAnswer();

  EngineRun run_;

  // Of the egress thread.
  std::deque<v1::GenerateEvent> events_;  // to be written: of one chunk, of all that are left once the end is there
  bool may_have_more_ = false;            // the token stream: it wakes nobody for what joins what nobody took
  grpc::ByteBuffer buffer_;               // of the write in flight
  TimePoint stuck_since_ = kNever;

  std::atomic<Write> write_ = Write::kIdle;  // made busy by the egress thread, idle by gRPC's
  std::atomic<bool> is_broken_ = false;      // nothing can be written any more
};

}  // namespace latentd
