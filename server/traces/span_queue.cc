#include "server/traces/span_queue.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace latentd {
namespace {

constexpr std::chrono::milliseconds kBatchDelay{500};

}  // namespace

void SpanQueue::Offer(RequestSpan span) {
  bool is_taken = false, wakes = false;
  {
    const std::lock_guard lock(mutex_);
    is_taken = !is_closed_ && spans_.size() < kMaxQueuedSpans;
    if (is_taken) spans_.push_back(std::move(span));
    wakes = is_taken && (spans_.size() == 1 || spans_.size() == kMaxBatchSpans);
  }
  if (wakes) changed_.notify_all();
  if (!is_taken) metrics_.Update([](MetricsData& data) { ++data.spans[static_cast<size_t>(SpanFate::kQueueFull)]; });
}

std::vector<RequestSpan> SpanQueue::Take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_closed_ || !spans_.empty(); });
  changed_.wait_for(lock, kBatchDelay, [this] { return is_closed_ || spans_.size() >= kMaxBatchSpans; });
  const auto end = spans_.begin() + static_cast<ptrdiff_t>(std::min(spans_.size(), kMaxBatchSpans));
  std::vector<RequestSpan> batch(std::make_move_iterator(spans_.begin()), std::make_move_iterator(end));
  spans_.erase(spans_.begin(), end);
  return batch;
}

void SpanQueue::Close() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  changed_.notify_all();
}

bool SpanQueue::is_closed() const {
  const std::lock_guard lock(mutex_);
  return is_closed_;
}

void SpanQueue::AwaitClosed(TimePoint by) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, by, [this] { return is_closed_; });
}

}  // namespace latentd
