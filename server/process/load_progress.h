// How far the weights are while they are read: in the metrics, and on a terminal as one line on stderr that is
// rewritten in place. Any thread.
#pragma once

#include <cstdint>
#include <mutex>

#include "base/clock.h"
#include "engine/load/bytes_read.h"
#include "engine/metrics.h"

namespace latentd {

class LoadProgress {
 public:
  // Both must outlive it.
  LoadProgress(Metrics& metrics, const Clock& clock);
  ~LoadProgress();  // takes the line away

  // Counts every byte of the weights, also those read before. Time counts from the first call on.
  void OnRead(uint64_t read_bytes, uint64_t total_bytes);
  // Never waits for a terminal.
  BytesRead Latest() const;
  // Takes the line away, so that others can follow. After the last OnRead.
  void Wipe();

 private:
  void Show(const BytesRead& bytes);

  Metrics& metrics_;
  const Clock& clock_;
  const bool is_terminal_;

  mutable std::mutex mutex_;
  TimePoint started_;  // guarded by mutex_, as latest_ is
  BytesRead latest_;

  std::mutex terminal_mutex_;       // held while the line is written
  double shown_at_seconds_ = -1.0;  // guarded by terminal_mutex_; below 0: nothing stands on the terminal
};

}  // namespace latentd
