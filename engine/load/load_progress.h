// How far the weights are while they are read: in the metrics, and on a terminal as one line on stderr that is
// rewritten in place. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "engine/metrics.h"

namespace latentd {

struct BytesRead {
  uint64_t read = 0;
  uint64_t total = 0;
  double seconds = 0.0;
};

// "weights: 1.21 of 2.04 GB (59 %), 1.63 GB/s, 1 s left"
std::string ProgressText(const BytesRead& bytes);
// Until the weights are read, at the rate so far; 0 where there is none yet.
double SecondsLeft(const BytesRead& bytes);
// How far loading has come, in words.
std::string StageText(const BytesRead& bytes);
// "weights: 2.04 GB in 1.25 s (1.63 GB/s)"
std::string SummaryText(const BytesRead& bytes);

class LoadProgress {
 public:
  // Both must outlive it.
  LoadProgress(Metrics& metrics, const Clock& clock);
  ~LoadProgress();  // takes the line away

  // From here on time counts.
  void Begin();
  // Counts every byte of the weights, also those read before.
  void OnRead(uint64_t read_bytes, uint64_t total_bytes);
  // Never waits for a terminal.
  BytesRead Latest() const;
  // What it came to.
  std::string Finish();

 private:
  void Show(const BytesRead& bytes);
  void Wipe();

  Metrics& metrics_;
  const Clock& clock_;
  TimePoint started_;
  const bool is_terminal_;

  mutable std::mutex mutex_;
  BytesRead latest_;  // guarded by mutex_

  std::mutex terminal_mutex_;       // held while the line is written
  double shown_at_seconds_ = -1.0;  // guarded by terminal_mutex_; below 0: nothing stands on the terminal
};

}  // namespace latentd
