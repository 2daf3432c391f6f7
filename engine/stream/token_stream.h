// The output of one request on its way to the client: pending text and ids, bounded in all, coalesced for each of its
// answers until they are taken. Chunks of one answer keep their order, those of several need none but that the end
// comes last. The publisher thread appends, one egress thread takes. Knows no gRPC: the TextSink is told when there is
// output. Shared by publisher and call. The chunk with the end is the last Append; Detach comes before the sink goes.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/stream/stream_end.h"
#include "engine/text/answer/answer_parts.h"
#include "kernels/batch.h"

namespace latentd {

// One generated (or, for Score, prompt) token as the client may want to see it.
struct StreamToken {
  int32_t id = -1;
  std::string bytes = {};  // of this token alone, not necessarily whole UTF-8
  float logprob = 0.0f;    // set where log-probabilities were asked for
  float sampled_logprob = 0.0f;
  std::vector<TokenLogprob> top = {};
};

// What became ready of one answer since the last Take, merged up to kMaxChunkBytes.
struct StreamChunk {
  int index = 0;               // of the answer, among the request's
  std::string text = {};       // valid UTF-8
  std::string reasoning = {};  // the same
  std::vector<ToolCallFragment> tool_calls = {};
  std::vector<StreamToken> tokens = {};      // tokens committed with this text
  int tokens_so_far = 0;                     // of this answer
  int cached_tokens = 0;                     // of the prompt, found in the prefix cache; set with tokens
  std::optional<AnswerEnd> answer_end = {};  // set on the last chunk of the answer
  std::optional<StreamEnd> end = {};         // set on the last chunk of all
  bool more_pending = false;                 // Take has another one
};

// The part that remains known of an end that was taken.
struct StreamEnding {
  TimePoint finished = kNever;
  int output_tokens = 0;
};
// A chunk that is so large grows no more. One chunk becomes one message, which a client has to take in whole: within
// its limit on messages (4 MiB by default), and soon enough not to pass for a client that takes nothing.
inline constexpr size_t kMaxChunkBytes = 16 << 10;

class TextSink {
 public:
  virtual ~TextSink() = default;
  // The stream has something to take. Called by the publisher thread with the stream locked: must neither block nor
  // call the stream. Spurious calls are allowed.
  virtual void Wake() = 0;
};

// The pending output of all streams. Past its bound each of them may hold no more than one chunk.
struct StreamBacklog {
  std::atomic<int64_t>* num_bytes = nullptr;
  int64_t max_bytes = INT64_MAX;
};

class TokenStream {
 public:
  // `sink` must outlive the stream's last Append or be detached before it goes.
  // What is pending is added to the backlog of all streams, if any, for as long as it is.
  TokenStream(TextSink* sink, size_t max_pending_bytes, const StreamBacklog& backlog = {})
      : max_pending_bytes_(max_pending_bytes), backlog_(backlog), sink_(sink) {}
  ~TokenStream() { AddToBacklog(-static_cast<int64_t>(pending_bytes_)); }

  // Publisher side. Nothing is ever dropped: true while the pending bytes are within the bound, past it the caller
  // pauses the sequence. CHECKs that nothing follows an end.
  bool Append(StreamChunk chunk);
  // The pending output passed the bound and was not taken since.
  bool full() const;
  // The end was appended, taken or not: nothing will follow.
  bool has_end() const;
  size_t pending_bytes() const;
  // The ending of a stream whose end was appended.
  std::optional<StreamEnding> ending() const;

  // Egress side: the oldest pending chunk, or nothing. The first chunk of each answer is delivered as it came, so that
  // a client's first token never waits for others; later ones that are not taken yet are coalesced. `was_full` tells
  // that the request's sequences may be paused and can resume now.
  std::optional<StreamChunk> Take(bool* was_full);
  // After this the sink is never called again.
  void Detach();

 private:
  struct Pending {
    StreamChunk chunk;
    size_t num_bytes = 0;
    bool is_first = false;  // of its answer
  };
  // One answer's part of what is pending.
  struct AnswerState {
    bool has_begun = false;
    Pending* newest = nullptr;  // of pending_, none once it was taken
  };
  void AddToBacklog(int64_t num_bytes) {
    if (backlog_.num_bytes != nullptr) backlog_.num_bytes->fetch_add(num_bytes, std::memory_order_relaxed);
  }
  bool IsOverBound() const;
  void AddPending(StreamChunk chunk, size_t num_bytes);

  const size_t max_pending_bytes_;
  const StreamBacklog backlog_;

  mutable std::mutex mutex_;  // guards all below
  TextSink* sink_;
  std::deque<Pending> pending_;       // in the order in which they began
  std::vector<AnswerState> answers_;  // by index
  size_t pending_bytes_ = 0;
  bool full_ = false;
  bool has_end_ = false;
  std::optional<StreamEnd> end_;  // where has_end_, until the last of pending_ is taken
  StreamEnding ending_;           // where has_end_
};

}  // namespace latentd
