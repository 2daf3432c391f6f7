// The thread between engine and clients: turns ids into text, parses answers, finds stop strings, feeds the
// TokenStreams. Never waits for a client. Its outbox takes whatever comes, so the engine never waits for it either.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mailbox.h"
#include "engine/loop/inbox.h"
#include "engine/metrics.h"
#include "engine/request.h"
#include "engine/step/step_output.h"
#include "engine/stream/stream_text.h"
#include "engine/stream/token_stream.h"
#include "engine/text/answer/answer_format.h"
#include "engine/text/answer/answer_parts.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

class Publisher {
 public:
  // Without a tokenizer there are ids and no text. Both must outlive the publisher.
  Publisher(const Tokenizer* tokenizer, Metrics& metrics);
  ~Publisher() { Stop(); }

  // Starts the thread; from then to Stop it sends Cancel, Pause and Resume into `inbox`.
  void Start(Inbox& inbox);
  // Publishes what is left, then joins.
  void Stop();

  // Engine thread: what follows for this request goes into `stream`.
  void Open(const Request& request, std::shared_ptr<TokenStream> stream);
  // Engine thread. The output of an opened sequence ends with its end; of any other is ignored.
  void Publish(StepOutput output);

  // Waits until so many streams, counted from the start, got their end; false where `timeout` passed before.
  bool AwaitEnds(uint64_t num_ends, Duration timeout);

 private:
  struct OpenStream {
    RequestKind kind;
    bool include_stop;
    std::shared_ptr<TokenStream> stream;
    StreamText text;
    int num_tokens = 0;  // published
  };

  // Bounded by the tokens of the live sequences: no step is in it that gave nothing.
  struct Outbox {
    std::vector<std::pair<RequestId, OpenStream>> opened;
    std::vector<StepOutput> steps;
    bool empty() const { return opened.empty() && steps.empty(); }
  };

  struct Ready {
    RequestId id = 0;
    TokenStream* stream = nullptr;
    StreamChunk chunk;
  };

  struct TokenCounts {
    uint64_t delivered = 0;
    uint64_t discarded = 0;
  };

  void Run();
  void PublishBatch(Outbox batch);
  void MakeReady(SequenceOutput& output, std::vector<Ready>& ready, TokenCounts& counts);
  StreamChunk MakeChunk(SequenceOutput& output, OpenStream& open, TokenCounts& counts);
  static AnswerParts PartsOf(const SequenceOutput& output, size_t token, OpenStream& open);
  StreamToken MakeToken(SampleResult& result) const;
  void Append(RequestId id, TokenStream& stream, StreamChunk chunk);

  const Tokenizer* const tokenizer_;
  const AnswerFormat format_;
  Metrics& metrics_;
  Mailbox<Outbox> outbox_;

  // Publisher thread only, once it runs.
  Inbox* inbox_ = nullptr;
  std::unordered_map<RequestId, OpenStream> streams_;

  std::mutex ends_mutex_;
  std::condition_variable ends_changed_;
  uint64_t num_ends_ = 0;  // guarded by ends_mutex_

  std::thread thread_;
};

}  // namespace latentd
