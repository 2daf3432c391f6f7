#include "tests/bench/naive_writer.h"

#include <chrono>
#include <utility>

#include "base/check.h"
#include "server/api/events.h"
#include "server/api/request_validation.h"
#include "server/api/wire_message.h"
#include "server/grpc/byte_buffers.h"
#include "tests/bench/egress_bench.h"

namespace latentd {

// Lives until the process ends: nothing tells the writing thread that gRPC is done with it.
class NaiveStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public TextSink {
 public:
  NaiveStream(NaiveService& service, OutputChoice output) : service_(service), output_(output) {}

  std::shared_ptr<TokenStream> MakeStream() {
    stream_ = std::make_shared<TokenStream>(this, size_t{1} << 30);
    return stream_;
  }

  void Wake() override { service_.Wake(*this); }

  // The writing thread.
  void Pump() {
    bool was_full = false;
    while (std::optional<StreamChunk> chunk = stream_->Take(&was_full)) {
      int tokens_so_far = chunk->tokens_so_far - static_cast<int>(chunk->tokens.size());
      for (StreamToken& token : chunk->tokens) {
        v1::GenerateEvent event;
        StreamChunk of_token{.tokens = {std::move(token)}, .tokens_so_far = ++tokens_so_far};
        AppendToDelta(of_token, output_, event.mutable_delta());
        Write(SerializeMessage(event));
      }
      if (chunk->end) End();
    }
  }

  void OnWriteDone(bool ok) override {
    CHECK(ok);
    std::lock_guard lock(mutex_);
    messages_.pop_front();
    if (!messages_.empty()) {
      StartWrite(&messages_.front());
    } else if (ended_) {
      Finish(grpc::Status::OK);
    }
  }
  void OnDone() override {}

 private:
  void Write(grpc::ByteBuffer message) {
    std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    if (messages_.size() == 1) StartWrite(&messages_.front());
  }
  void End() {
    std::lock_guard lock(mutex_);
    ended_ = true;
    if (messages_.empty()) Finish(grpc::Status::OK);
  }

  NaiveService& service_;
  const OutputChoice output_;
  std::shared_ptr<TokenStream> stream_;

  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> messages_;  // the first one is being written
  bool ended_ = false;
};

NaiveService::NaiveService(const ServedModel& model, EngineThread& engine, Metrics& metrics)
    : model_(model), engine_(engine), metrics_(metrics), thread_([this] { Run(); }) {}

NaiveService::~NaiveService() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* NaiveService::Generate(grpc::CallbackServerContext* /*context*/,
                                                                   const grpc::ByteBuffer* request) {
  v1::GenerateRequest message;
  const absl::StatusOr<BufferPieces> pieces = BufferPieces::Of(*request);
  CHECK(pieces.ok());
  CHECK(ParseMessage(pieces->bytes(), &message).ok());
  EncodedPrompt prompt{.field = "token_ids", .ids = {static_cast<int32_t>(kBenchPrompt)}};
  auto valid = MakeRequest(message, model_.description, std::move(prompt), std::chrono::steady_clock::now());
  CHECK(valid.ok());
  valid->request.id = engine_.NextRequestId();
  auto* stream = new NaiveStream(*this, valid->output);
  CHECK(!engine_.Submit(std::move(valid->request), stream->MakeStream()).has_value());
  metrics_.Update([](MetricsData& data) { ++data.requests_received["Generate"]; });
  return stream;
}

void NaiveService::Wake(NaiveStream& stream) {
  std::lock_guard lock(mutex_);
  woken_.push_back(&stream);
  changed_.notify_one();
}

void NaiveService::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return closed_ || !woken_.empty(); });
    if (woken_.empty()) return;
    NaiveStream& stream = *woken_.front();
    woken_.pop_front();
    lock.unlock();
    stream.Pump();
    lock.lock();
  }
}

}  // namespace latentd
