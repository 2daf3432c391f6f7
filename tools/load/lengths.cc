#include "tools/load/lengths.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "tools/load/view.h"

namespace latentd {
namespace {

constexpr double kMaxLength = 1e7;  // tokens; far above any context

double DeviationsAboveMean(LengthDistribution::Shape shape) {
  return shape == LengthDistribution::Shape::kNormal ? 4.0 : 16.0;
}

}  // namespace

uint32_t LengthDistribution::Draw(SeededRandom& random) const {
  const double normal = random.Normal();
  double drawn = mean + deviation * normal;
  if (shape == Shape::kLogNormal) {
    const double variance = std::log1p(deviation * deviation / (mean * mean));  // of the logarithm
    drawn = mean * std::exp(std::sqrt(variance) * normal - variance / 2.0);
  }
  return static_cast<uint32_t>(std::clamp(std::round(drawn), static_cast<double>(min), static_cast<double>(max)));
}

absl::StatusOr<LengthDistribution> ParseLengths(std::string_view flag, std::string_view text) {
  const absl::Status refusal = absl::InvalidArgumentError(absl::StrFormat(
      "%s: expected N, [lognormal:]MEAN:DEVIATION or [lognormal:]MEAN:DEVIATION:MIN:MAX in tokens, with 1 <= MIN <= "
      "MEAN <= MAX, found \"%s\"",
      flag, text));
  absl::string_view rest = View(text);
  LengthDistribution lengths;
  if (absl::ConsumePrefix(&rest, "lognormal:")) lengths.shape = LengthDistribution::Shape::kLogNormal;
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(rest, ':')) {
    double number = 0.0;
    if (!absl::SimpleAtod(part, &number) || !(number >= 0.0 && number <= kMaxLength)) return refusal;
    numbers.push_back(number);
  }
  if (numbers.size() == 3 || numbers.size() > 4 || numbers[0] < 1.0) return refusal;
  if (lengths.shape == LengthDistribution::Shape::kLogNormal && numbers.size() == 1) return refusal;
  lengths.mean = numbers[0];
  lengths.deviation = numbers.size() > 1 ? numbers[1] : 0.0;
  const double low = numbers.size() == 4 ? numbers[2] : numbers.size() == 1 ? lengths.mean : 1.0;
  const double high = numbers.size() == 4
                          ? numbers[3]
                          : std::ceil(lengths.mean + DeviationsAboveMean(lengths.shape) * lengths.deviation);
  if (low < 1.0 || low > lengths.mean || high < lengths.mean) return refusal;
  lengths.min = static_cast<uint32_t>(low);
  lengths.max = static_cast<uint32_t>(high);
  return lengths;
}

}  // namespace latentd
