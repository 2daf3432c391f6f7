#include "server/admin/load_window.h"

#include <chrono>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace latentd {
namespace {

constexpr std::chrono::seconds kWindow{10};

}  // namespace

void LoadWindow::Add(LoadSample sample) {
  const TimePoint start = sample.time - kWindow;
  samples_.push_back(std::move(sample));
  while (samples_.size() > 1 && samples_[1].time <= start) samples_.pop_front();
}

const LoadSample& LoadWindow::Start(TimePoint now) const {
  CHECK(!samples_.empty());
  size_t start = 0;
  while (start + 1 < samples_.size() && samples_[start + 1].time <= now - kWindow) ++start;
  return samples_[start];
}

std::optional<double> QuantileBetween(std::span<const uint64_t> before, std::span<const uint64_t> after,
                                      std::span<const double> upper_bounds, double q) {
  std::vector<uint64_t> counts(after.begin(), after.end());
  for (size_t i = 0; i < before.size() && i < counts.size(); ++i) counts[i] -= before[i];
  const uint64_t total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (total == 0) return std::nullopt;
  const double rank = q * static_cast<double>(total);
  double below = 0.0;
  for (size_t i = 0; i < upper_bounds.size(); ++i) {
    const auto count = static_cast<double>(counts[i]);
    if (count > 0.0 && below + count >= rank) {
      const double lower = i == 0 ? 0.0 : upper_bounds[i - 1];
      return lower + (upper_bounds[i] - lower) * (rank - below) / count;
    }
    below += count;
  }
  return upper_bounds.back();
}

}  // namespace latentd
