// The baseline of the daemon's egress: a thread that writes each token as a message of its own. Behind the same
// engine, publisher and streams; nothing is merged, and what waits is not bounded.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "engine/loop/engine_thread.h"
#include "engine/stream/token_stream.h"
#include "latentd/v1/generation.grpc.pb.h"
#include "server/api/served_model.h"

namespace latentd {

class NaiveStream;

class NaiveService final : public v1::Generation::WithRawCallbackMethod_Generate<v1::Generation::Service> {
 public:
  NaiveService(const ServedModel& model, EngineThread& engine, Metrics& metrics);
  ~NaiveService() override;

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;

  void Wake(NaiveStream& stream);

 private:
  void Run();

  const ServedModel& model_;
  EngineThread& engine_;
  Metrics& metrics_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<NaiveStream*> woken_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace latentd
