// Tells Metrics of each step, and of the commands between steps, in one update: sums and differences of numbers that
// were made before. Owned by the Engine; engine thread only.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "engine/metrics.h"
#include "engine/step/step_record.h"

namespace latentd {

class StepReporter {
 public:
  // `metrics` must outlive it, and knows the cache's size from here on.
  StepReporter(Metrics& metrics, const SchedulerLevels& levels);

  // Commands between steps. A step in which nothing happens reports nothing, so these wait for the next report.
  void Admit(int64_t prompt_tokens) { news_.admitted_prompt_tokens += static_cast<uint64_t>(prompt_tokens); }
  void Pause(int num_sequences) { news_.paused += static_cast<uint64_t>(num_sequences); }
  void Resume(int num_sequences) { news_.resumed += static_cast<uint64_t>(num_sequences); }
  void Flush() { ++news_.flushes; }
  bool has_news() const { return news_ != News{}; }

  void Report(const StepRecord& record, const SchedulerLevels& levels);
  // There was nothing to do: the next step follows no gap.
  void Rest() { last_busy_finish_ = kNever; }

 private:
  struct News {
    uint64_t admitted_prompt_tokens = 0;
    uint64_t paused = 0;
    uint64_t resumed = 0;
    uint64_t flushes = 0;  // the cached blocks changed
    bool operator==(const News&) const = default;
  };

  void ReportStep(const StepRecord& record, MetricsData& data) const;

  Metrics& metrics_;
  News news_;
  TimePoint last_report_{};
  TimePoint last_busy_finish_ = kNever;  // of the step before, if it left work behind
};

}  // namespace latentd
