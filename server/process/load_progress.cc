#include "server/process/load_progress.h"

#include <algorithm>
#include <iostream>

#include <unistd.h>

namespace latentd {
namespace {

constexpr double kBetweenLinesSeconds = 0.1;  // what an eye can follow

}  // namespace

LoadProgress::LoadProgress(Metrics& metrics, const Clock& clock)
    : metrics_(metrics), clock_(clock), is_terminal_(isatty(STDERR_FILENO) != 0) {}

void LoadProgress::OnRead(uint64_t read_bytes, uint64_t total_bytes) {
  metrics_.Update([&](MetricsData& data) {
    // Two threads may report in the other order than they counted.
    data.model_bytes_loaded = std::max(data.model_bytes_loaded, read_bytes);
    data.model_bytes_total = total_bytes;
  });
  BytesRead latest;
  {
    const std::lock_guard lock(mutex_);
    const TimePoint now = clock_.Now();
    if (latest_.total == 0) started_ = now;
    latest = latest_ = {
        .read = std::max(latest_.read, read_bytes), .total = total_bytes, .seconds = Seconds(now - started_)};
  }
  if (!is_terminal_) return;
  const std::lock_guard lock(terminal_mutex_);
  if (shown_at_seconds_ < 0.0 || latest.seconds - shown_at_seconds_ >= kBetweenLinesSeconds) Show(latest);
}

BytesRead LoadProgress::Latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

void LoadProgress::Show(const BytesRead& bytes) {
  shown_at_seconds_ = bytes.seconds;
  std::cerr << "\r\x1b[K" << ProgressText(bytes) << std::flush;
}

void LoadProgress::Wipe() {
  const std::lock_guard lock(terminal_mutex_);
  if (shown_at_seconds_ >= 0.0) std::cerr << "\r\x1b[K" << std::flush;
  shown_at_seconds_ = -1.0;
}

LoadProgress::~LoadProgress() { Wipe(); }

}  // namespace latentd
