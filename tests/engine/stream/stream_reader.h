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

  // All that is left of the stream: its answers by index, each as one chunk, and the end, unless something is broken.
  struct Answers {
    std::vector<StreamChunk> by_index;
    std::optional<StreamEnd> end;
  };
  Answers ReadAnswers(TokenStream& stream) {
    Answers answers;
    bool was_full = false;
    while (!answers.end) {
      std::optional<StreamChunk> chunk = AwaitChunk(stream, &was_full);
      if (!chunk) break;
      answers.end = chunk->end;
      const auto index = static_cast<size_t>(chunk->index);
      if (index >= answers.by_index.size()) answers.by_index.resize(index + 1);
      answers.by_index[index].index = chunk->index;
      Add(std::move(*chunk), answers.by_index[index]);
    }
    return answers;
  }
  // The same where there is one answer.
  StreamChunk ReadToEnd(TokenStream& stream) {
    Answers answers = ReadAnswers(stream);
    return answers.by_index.size() == 1 ? std::move(answers.by_index.front()) : StreamChunk();
  }

 private:
  static void Add(StreamChunk chunk, StreamChunk& all) {
    all.text += chunk.text;
    all.reasoning += chunk.reasoning;
    AppendFragments(std::move(chunk.tool_calls), all.tool_calls);
    all.tokens.insert(all.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    all.tokens_so_far = chunk.tokens_so_far;
    all.answer_end = std::move(chunk.answer_end);
    all.end = std::move(chunk.end);
  }

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
