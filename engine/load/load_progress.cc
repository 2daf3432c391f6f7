#include "engine/load/load_progress.h"

#include <algorithm>
#include <cmath>
#include <iostream>

#include <absl/strings/str_format.h>
#include <unistd.h>

namespace latentd {
namespace {

constexpr double kBetweenLinesSeconds = 0.1;  // what an eye can follow

double GigabytesPerSecond(const BytesRead& bytes) {
  return bytes.seconds > 0.0 ? static_cast<double>(bytes.read) / 1e9 / bytes.seconds : 0.0;
}

}  // namespace

std::string ProgressText(const BytesRead& bytes) {
  const double read = static_cast<double>(bytes.read), total = static_cast<double>(bytes.total);
  const double percent = total > 0.0 ? std::floor(100.0 * read / total) : 100.0;
  return absl::StrFormat("weights: %.2f of %.2f GB (%.0f %%), %.2f GB/s, %.0f s left", read / 1e9, total / 1e9, percent,
                         GigabytesPerSecond(bytes), std::ceil(SecondsLeft(bytes)));
}

double SecondsLeft(const BytesRead& bytes) {
  if (bytes.read == 0) return 0.0;
  return static_cast<double>(bytes.total - bytes.read) / static_cast<double>(bytes.read) * bytes.seconds;
}

std::string StageText(const BytesRead& bytes) {
  if (bytes.total == 0) return "its files are being opened";
  if (bytes.read == bytes.total) return "weights: all read; what is left takes moments";
  return ProgressText(bytes);
}

std::string SummaryText(const BytesRead& bytes) {
  return absl::StrFormat("weights: %.2f GB in %.2f s (%.2f GB/s)", static_cast<double>(bytes.read) / 1e9, bytes.seconds,
                         GigabytesPerSecond(bytes));
}

LoadProgress::LoadProgress(Metrics& metrics, const Clock& clock)
    : metrics_(metrics), clock_(clock), started_(clock.Now()), is_terminal_(isatty(STDERR_FILENO) != 0) {}

void LoadProgress::Begin() { started_ = clock_.Now(); }

void LoadProgress::OnRead(uint64_t read_bytes, uint64_t total_bytes) {
  const double seconds = Seconds(clock_.Now() - started_);
  metrics_.Update([&](MetricsData& data) {
    // Two threads may report in the other order than they counted.
    data.model_bytes_loaded = std::max(data.model_bytes_loaded, read_bytes);
    data.model_bytes_total = total_bytes;
  });
  BytesRead latest;
  {
    const std::lock_guard lock(mutex_);
    latest = latest_ = {.read = std::max(latest_.read, read_bytes), .total = total_bytes, .seconds = seconds};
  }
  if (!is_terminal_) return;
  const std::lock_guard lock(terminal_mutex_);
  if (shown_at_seconds_ < 0.0 || seconds - shown_at_seconds_ >= kBetweenLinesSeconds) Show(latest);
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

std::string LoadProgress::Finish() {
  Wipe();
  const std::lock_guard lock(mutex_);
  latest_.seconds = Seconds(clock_.Now() - started_);
  return SummaryText(latest_);
}

LoadProgress::~LoadProgress() { Wipe(); }

}  // namespace latentd
