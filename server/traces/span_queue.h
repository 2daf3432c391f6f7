// Spans on their way to the collector, bounded: what finds it full is dropped and counted, so that no call waits for a
// collector. Any thread offers; the exporter's takes. Owned by the Daemon; outlives every call.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "engine/metrics.h"
#include "server/traces/request_span.h"

namespace latentd {

// Those of a busy minute, in a few MiB.
inline constexpr size_t kMaxQueuedSpans = 4096;
inline constexpr size_t kMaxBatchSpans = 512;
static_assert(kMaxBatchSpans <= kMaxQueuedSpans);

class SpanQueue {
 public:
  // `metrics` must outlive it.
  explicit SpanQueue(Metrics& metrics) : metrics_(metrics) {}

  void Offer(RequestSpan span);

  // Waits for spans, then for more of them for a moment. Empty only where it is closed and everything was taken.
  std::vector<RequestSpan> Take();
  // Nothing is waited for any more, and what is offered is dropped.
  void Close();
  bool is_closed() const;
  // Waits until then, or until it is closed.
  void AwaitClosed(TimePoint by);

 private:
  Metrics& metrics_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<RequestSpan> spans_;
  bool is_closed_ = false;
};

}  // namespace latentd
