// A client's end of a TokenStream: waits for chunks as an egress thread would be woken for them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/stream/token_stream.h"

namespace latentd {

class StreamReader final : public TextSink {
 public:
  void Wake() override {
    std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }

  // The next chunk; nothing where none came for a minute, which means that none will.
  std::optional<StreamChunk> AwaitChunk(TokenStream& stream, bool* was_full) {
    while (true) {
      if (std::optional<StreamChunk> chunk = stream.Take(was_full)) return chunk;
      std::unique_lock lock(mutex_);
      if (!changed_.wait_for(lock, std::chrono::minutes(1), [this] { return woken_; })) return std::nullopt;
      woken_ = false;
    }
  }

  // All that is left of the stream as one chunk, its end included unless something is broken.
  StreamChunk ReadToEnd(TokenStream& stream) {
    StreamChunk all;
    bool was_full = false;
    while (!all.end) {
      std::optional<StreamChunk> chunk = AwaitChunk(stream, &was_full);
      if (!chunk) break;
      all.text += chunk->text;
      all.reasoning += chunk->reasoning;
      AppendFragments(std::move(chunk->tool_calls), all.tool_calls);
      all.tokens.insert(all.tokens.end(), chunk->tokens.begin(), chunk->tokens.end());
      all.tokens_so_far = chunk->tokens_so_far;
      all.end = std::move(chunk->end);
    }
    return all;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

// A stream and the client that reads it.
struct Client {
  explicit Client(size_t max_pending_bytes = 1 << 20)
      : stream(std::make_shared<TokenStream>(&reader, max_pending_bytes)) {}
  ~Client() { stream->Detach(); }

  StreamReader reader;
  std::shared_ptr<TokenStream> stream;
};

inline std::vector<int32_t> IdsOf(const StreamChunk& chunk) {
  std::vector<int32_t> ids;
  for (const StreamToken& token : chunk.tokens) ids.push_back(token.id);
  return ids;
}

}  // namespace latentd
