#include "tools/load/sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "tools/load/view.h"

namespace latentd {
namespace {

constexpr double kMaxLevel = 1e6;
constexpr int kLevelsPastTheKnee = 2;       // one may be noise
constexpr double kFineEnough = 1.5;         // of two neighbours at the knee
constexpr double kGoodputResolution = 1.1;  // of the highest good level and the lowest that is not

std::vector<double> Levels(const std::vector<LevelOutcome>& outcomes) {
  std::vector<double> levels;
  for (const LevelOutcome& outcome : outcomes) levels.push_back(outcome.level);
  std::sort(levels.begin(), levels.end());
  return levels;
}

// Twice the highest; none past the last.
std::optional<double> Climb(const std::vector<double>& levels, const SweepOptions& options) {
  if (levels.back() >= options.high) return std::nullopt;
  return std::min(levels.back() * 2.0, options.high);
}

// Halfway between, on the scale of ratios; none where there is no level between.
std::optional<double> Between(double low, double high, const SweepOptions& options) {
  double middle = std::sqrt(low * high);
  if (options.over == SweepOver::kConcurrency) middle = std::round(middle);
  if (middle <= low || middle >= high) return std::nullopt;
  return middle;
}

std::optional<double> NextForKnee(const std::vector<LevelOutcome>& outcomes, const SweepOptions& options) {
  const std::vector<double> levels = Levels(outcomes);
  const double best = outcomes[*FindBest(outcomes, options)].level;
  const auto at = std::find(levels.begin(), levels.end(), best);
  if (levels.end() - at <= kLevelsPastTheKnee) {
    if (const std::optional<double> next = Climb(levels, options)) return next;
  }
  if (at + 1 != levels.end() && at[1] > best * kFineEnough) {
    if (const std::optional<double> next = Between(best, at[1], options)) return next;
  }
  if (at != levels.begin() && best > at[-1] * kFineEnough) return Between(at[-1], best, options);
  return std::nullopt;
}

std::optional<double> NextForGoodput(const std::vector<LevelOutcome>& outcomes, const SweepOptions& options) {
  const std::optional<size_t> best = FindBest(outcomes, options);
  if (!best) return std::nullopt;
  const std::vector<double> levels = Levels(outcomes);
  const auto above = std::upper_bound(levels.begin(), levels.end(), outcomes[*best].level);
  if (above == levels.end()) return Climb(levels, options);
  if (*above <= outcomes[*best].level * kGoodputResolution) return std::nullopt;
  return Between(outcomes[*best].level, *above, options);
}

}  // namespace

absl::Status ParseLevels(std::string_view text, SweepOptions& options) {
  const std::vector<absl::string_view> sides = absl::StrSplit(View(text), ':');
  double low = 0.0;
  double high = 0.0;
  const bool is_right = sides.size() == 2 && absl::SimpleAtod(sides[0], &low) && absl::SimpleAtod(sides[1], &high) &&
                        low > 0.0 && low <= high && high <= kMaxLevel;
  const bool is_whole = std::floor(low) == low && std::floor(high) == high;
  if (!is_right || (options.over == SweepOver::kConcurrency && !is_whole)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--levels: expected LOW:HIGH with 0 < LOW <= HIGH, whole numbers of streams, found \"%s\"", text));
  }
  options.low = low;
  options.high = high;
  return absl::OkStatus();
}

std::optional<double> NextLevel(const std::vector<LevelOutcome>& outcomes, const SweepOptions& options) {
  if (outcomes.empty()) return options.low;
  return options.goodput_fraction ? NextForGoodput(outcomes, options) : NextForKnee(outcomes, options);
}

std::optional<size_t> FindBest(const std::vector<LevelOutcome>& outcomes, const SweepOptions& options) {
  std::optional<size_t> best;
  double lowest_bad = std::numeric_limits<double>::infinity();
  for (const LevelOutcome& outcome : outcomes) {
    if (options.goodput_fraction && outcome.goodput < *options.goodput_fraction) {
      lowest_bad = std::min(lowest_bad, outcome.level);
    }
  }
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i].level >= lowest_bad) continue;
    const auto rank = [&](size_t at) { return options.goodput_fraction ? outcomes[at].level : outcomes[at].power; };
    if (!best || rank(i) > rank(*best)) best = i;
  }
  return best;
}

}  // namespace latentd
