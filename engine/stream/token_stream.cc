#include "engine/stream/token_stream.h"

#include <iterator>
#include <utility>

#include "base/check.h"

namespace latentd {
namespace {

size_t BytesOf(const StreamChunk& chunk) {
  size_t num_bytes = chunk.text.size() + chunk.reasoning.size();
  for (const ToolCallFragment& call : chunk.tool_calls) {
    num_bytes += sizeof(call) + call.id.size() + call.name.size() + call.arguments.size();
  }
  for (const StreamToken& token : chunk.tokens) {
    num_bytes += sizeof(token) + token.bytes.size() + token.top.size() * sizeof(TokenLogprob);
  }
  return num_bytes;
}

void Merge(StreamChunk newer, StreamChunk& pending) {
  pending.text += newer.text;
  pending.reasoning += newer.reasoning;
  AppendFragments(std::move(newer.tool_calls), pending.tool_calls);
  pending.tokens.insert(pending.tokens.end(), std::make_move_iterator(newer.tokens.begin()),
                        std::make_move_iterator(newer.tokens.end()));
  pending.tokens_so_far = newer.tokens_so_far;
  pending.answer_end = std::move(newer.answer_end);
}

}  // namespace

bool TokenStream::Append(StreamChunk chunk) {
  std::lock_guard lock(mutex_);
  CHECK(!has_end_);
  has_end_ = chunk.end.has_value();
  if (has_end_) {
    end_ = std::exchange(chunk.end, std::nullopt);
    ending_ = {.finished = end_->timings.finished, .output_tokens = end_->output_tokens};
  }
  const size_t num_bytes = BytesOf(chunk);
  pending_bytes_ += num_bytes;
  AddToBacklog(static_cast<int64_t>(num_bytes));
  // Full until a Take makes room, though others made room for all: only a Take tells that the sequence can resume.
  full_ = full_ || IsOverBound();
  const bool was_empty = pending_.empty();
  AddPending(std::move(chunk), num_bytes);
  // An end wakes even a sink that was woken before: it may be waiting for a client that reads no more.
  if ((was_empty || has_end_) && sink_ != nullptr) sink_->Wake();
  return !full_;
}

void TokenStream::AddPending(StreamChunk chunk, size_t num_bytes) {
  const auto index = static_cast<size_t>(chunk.index);
  if (index >= answers_.size()) answers_.resize(index + 1);
  AnswerState& answer = answers_[index];
  Pending* const newest = answer.newest;
  if (newest != nullptr && !newest->is_first && newest->num_bytes < kMaxChunkBytes) {
    Merge(std::move(chunk), newest->chunk);
    newest->num_bytes += num_bytes;
    return;
  }
  pending_.push_back({.chunk = std::move(chunk), .num_bytes = num_bytes, .is_first = !answer.has_begun});
  answer = {.has_begun = true, .newest = &pending_.back()};  // a deque's elements stay where they are
}

bool TokenStream::IsOverBound() const {
  if (pending_bytes_ > max_pending_bytes_) return true;
  return pending_bytes_ > kMaxChunkBytes && backlog_.num_bytes != nullptr &&
         backlog_.num_bytes->load(std::memory_order_relaxed) > backlog_.max_bytes;
}

bool TokenStream::full() const {
  std::lock_guard lock(mutex_);
  return full_;
}

bool TokenStream::has_end() const {
  std::lock_guard lock(mutex_);
  return has_end_;
}

size_t TokenStream::pending_bytes() const {
  std::lock_guard lock(mutex_);
  return pending_bytes_;
}

std::optional<StreamEnding> TokenStream::ending() const {
  std::lock_guard lock(mutex_);
  if (!has_end_) return std::nullopt;
  return ending_;
}

std::optional<StreamChunk> TokenStream::Take(bool* was_full) {
  std::lock_guard lock(mutex_);
  *was_full = false;
  if (pending_.empty()) return std::nullopt;
  Pending& front = pending_.front();
  std::optional<StreamChunk> oldest = std::move(front.chunk);
  const size_t num_bytes = front.num_bytes;
  pending_bytes_ -= num_bytes;
  AnswerState& answer = answers_[static_cast<size_t>(oldest->index)];
  if (answer.newest == &front) answer.newest = nullptr;
  pending_.pop_front();
  oldest->more_pending = !pending_.empty();
  if (pending_.empty()) oldest->end = std::exchange(end_, std::nullopt);
  AddToBacklog(-static_cast<int64_t>(num_bytes));
  *was_full = full_ && !IsOverBound();
  full_ = full_ && !*was_full;
  return oldest;
}

void TokenStream::Detach() {
  std::lock_guard lock(mutex_);
  sink_ = nullptr;
}

}  // namespace latentd
