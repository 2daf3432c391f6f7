// All that the daemon counts, in one struct behind one mutex, so that each scrape sees one consistent moment.
// gRPC threads report requests as they come and go; the engine thread reports once per step.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace latentd {

class Histogram {
 public:
  explicit Histogram(std::span<const double> upper_bounds)
      : upper_bounds_(upper_bounds.begin(), upper_bounds.end()), counts_(upper_bounds.size() + 1) {}
  void Observe(double value, uint64_t times = 1);

  const std::vector<double>& upper_bounds() const { return upper_bounds_; }
  const std::vector<uint64_t>& counts() const { return counts_; }  // per bucket, not cumulative; the last is +Inf
  double sum() const { return sum_; }

 private:
  std::vector<double> upper_bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0.0;
};

// Bucket bounds of spec api.md 3, seconds.
inline constexpr std::array kRequestSeconds = {.001, .002, .005, .01, .02, .05, .1,   .2,   .5,   1.,
                                               2.,   5.,   10.,  20., 30., 60., 120., 300., 600., 1800.};
inline constexpr std::array kTokenSeconds = {.0005, .001, .002, .003, .005, .0075, .01, .015, .02, .03, .05,
                                             .075,  .1,   .15,  .2,   .3,   .5,    1.,  2.,   5.,  10.};
inline constexpr std::array kStepRows = {1., 2., 4., 8., 16., 32., 64., 128., 256., 512.};
inline constexpr std::array kStepTokens = {1., 4., 16., 64., 128., 256., 512., 1024., 2048., 4096., 8192.};

enum class Phase : uint8_t { kQueued, kPrefill, kDecode, kOutput };
inline constexpr int kNumPhases = 4;

// An outcome of a terminated RPC.
struct Outcome {
  std::string method;     // "Generate", "Score", …
  std::string grpc_code;  // "OK", "INVALID_ARGUMENT", …
  std::string reason;     // "EOS", "INVALID_FIELD", …; empty where the code says all
  auto operator<=>(const Outcome&) const = default;
};

struct MetricsData {
  std::map<std::string, uint64_t> requests_received;  // by method
  std::map<Outcome, uint64_t> requests_finished;
  std::array<int64_t, kNumPhases> requests_in_flight{};  // Σ received - Σ finished = Σ in flight

  uint64_t prompt_tokens_computed = 0;
  uint64_t generated_tokens_delivered = 0;
  uint64_t generated_tokens_discarded = 0;

  // by outcome reason
  std::map<std::string, Histogram> request_seconds;
  Histogram time_to_first_token_seconds{kRequestSeconds};
  Histogram inter_token_latency_seconds{kTokenSeconds};
  Histogram queue_seconds{kRequestSeconds};

  Histogram step_seconds{kTokenSeconds};
  Histogram step_rows{kStepRows};
  Histogram step_tokens{kStepTokens};

  int64_t kv_blocks_free = 0;
  int64_t kv_blocks_active = 0;
  int64_t kv_blocks_reserved = 0;  // the scratch block of padding rows
  int64_t kv_blocks_total = 0;     // free + active + reserved
};

class Metrics {
 public:
  // Runs `change(MetricsData&)` under the mutex: one change is one moment.
  template <class Change>
  void Update(const Change& change) {
    std::lock_guard lock(mutex_);
    change(data_);
  }
  MetricsData Snapshot() const {
    std::lock_guard lock(mutex_);
    return data_;
  }

 private:
  mutable std::mutex mutex_;
  MetricsData data_;
};

}  // namespace latentd
