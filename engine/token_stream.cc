#include "engine/token_stream.h"

#include <iterator>
#include <utility>

#include "kernels/check.h"

namespace latentd {
namespace {

size_t BytesOf(const StreamChunk& chunk) {
  size_t num_bytes = chunk.text.size();
  for (const StreamToken& token : chunk.tokens) {
    num_bytes += sizeof(token) + token.bytes.size() + token.top.size() * sizeof(TokenLogprob);
  }
  return num_bytes;
}

void Merge(StreamChunk newer, StreamChunk& pending) {
  pending.text += newer.text;
  pending.tokens.insert(pending.tokens.end(), std::make_move_iterator(newer.tokens.begin()),
                        std::make_move_iterator(newer.tokens.end()));
  pending.tokens_so_far = newer.tokens_so_far;
  pending.end = std::move(newer.end);
}

}  // namespace

bool TokenStream::Append(StreamChunk chunk) {
  std::lock_guard lock(mutex_);
  CHECK(!has_end_);
  has_end_ = chunk.end.has_value();
  pending_bytes_ += BytesOf(chunk);
  Merge(std::move(chunk), pending_);
  full_ = pending_bytes_ > max_pending_bytes_;
  // An end wakes even a sink that was woken before: it may be waiting for a client that reads no more.
  const bool was_pending = std::exchange(has_pending_, true);
  if ((!was_pending || has_end_) && sink_ != nullptr) sink_->Wake();
  return !full_;
}

bool TokenStream::full() const {
  std::lock_guard lock(mutex_);
  return full_;
}

bool TokenStream::has_end() const {
  std::lock_guard lock(mutex_);
  return has_end_;
}

std::optional<StreamChunk> TokenStream::Take(bool* was_full) {
  std::lock_guard lock(mutex_);
  *was_full = std::exchange(full_, false);
  if (!std::exchange(has_pending_, false)) return std::nullopt;
  pending_bytes_ = 0;
  return std::exchange(pending_, {});
}

void TokenStream::Detach() {
  std::lock_guard lock(mutex_);
  sink_ = nullptr;
}

}  // namespace latentd
