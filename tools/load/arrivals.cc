#include "tools/load/arrivals.h"

#include <cmath>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "base/number_text.h"
#include "tools/load/view.h"

namespace latentd {
namespace {

constexpr double kConstantShape = std::numeric_limits<double>::infinity();
// Below, nearly all of a run's requests come at one moment; above, gaps can't be told from constant ones.
constexpr double kMinShape = 0.01;
constexpr double kMaxShape = 1e4;
constexpr double kMinRate = 1e-3;
constexpr double kMaxRate = 1e6;

double StretchTo(double mean_rate, const std::vector<double>& seconds) {
  if (mean_rate <= 0.0 || seconds.size() < 2 || seconds.back() <= 0.0) return 1.0;
  return static_cast<double>(seconds.size() - 1) / mean_rate / seconds.back();
}

}  // namespace

std::string Arrival::ToString() const {
  if (shape == kConstantShape) return "constant";
  return shape == 1.0 ? "poisson" : "gamma:" + NumberText(shape);
}

absl::StatusOr<Arrival> ParseArrival(std::string_view text) {
  if (text == "constant") return Arrival{.shape = kConstantShape};
  if (text == "poisson") return Arrival{};
  absl::string_view rest = View(text);
  Arrival arrival;
  if (absl::ConsumePrefix(&rest, "gamma:") && absl::SimpleAtod(rest, &arrival.shape) && arrival.shape >= kMinShape &&
      arrival.shape <= kMaxShape) {
    return arrival;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("--arrival: expected constant, poisson or gamma:SHAPE with SHAPE from %s to %s, found \"%s\"",
                      NumberText(kMinShape), NumberText(kMaxShape), text));
}

std::string Rate::ToString() const { return is_ramp() ? NumberText(from) + ":" + NumberText(to) : NumberText(from); }

absl::StatusOr<Rate> ParseRate(std::string_view text) {
  const std::vector<absl::string_view> sides = absl::StrSplit(View(text), ':');
  const auto read = [](absl::string_view side, double& rate) {
    return absl::SimpleAtod(side, &rate) && rate >= kMinRate && rate <= kMaxRate;
  };
  Rate rate;
  if (sides.size() <= 2 && read(sides.front(), rate.from) && read(sides.back(), rate.to)) return rate;
  return absl::InvalidArgumentError(
      absl::StrFormat("--rate: expected requests per second as N or FROM:TO, each %s to %s, found \"%s\"",
                      NumberText(kMinRate), NumberText(kMaxRate), text));
}

ArrivalSchedule::ArrivalSchedule(Arrival arrival, Rate rate, double seconds, uint64_t seed)
    : arrival_(arrival),
      rate_(rate),
      rate_change_((rate.to - rate.from) / seconds),
      random_(seed, Purpose::kArrivals) {}

ArrivalSchedule::ArrivalSchedule(std::vector<double> recorded_seconds, double mean_rate)
    : arrival_(),
      rate_(),
      random_(0, Purpose::kArrivals),
      recorded_seconds_(std::move(recorded_seconds)),
      is_recorded_(true),
      stretch_(StretchTo(mean_rate, recorded_seconds_)) {}

int64_t ArrivalSchedule::Next() {
  if (is_recorded_) return NextRecorded();
  // Arrivals of one a second, laid on the clock by the rate. Constant gaps are counted, not summed: the millionth
  // arrival is where it belongs.
  if (arrival_.shape == kConstantShape) {
    num_due_ = static_cast<double>(num_arrivals_);
  } else {
    num_due_ += arrival_.shape == 1.0 ? random_.Exponential() : random_.Gamma(arrival_.shape) / arrival_.shape;
  }
  ++num_arrivals_;
  const double moment = MomentOf(num_due_);
  return std::isfinite(moment) && moment < 1e9 ? static_cast<int64_t>(moment * 1e9) : kNeverArrives;
}

int64_t ArrivalSchedule::NextRecorded() {
  if (num_arrivals_ == recorded_seconds_.size()) return kNeverArrives;
  return static_cast<int64_t>(recorded_seconds_[num_arrivals_++] * stretch_ * 1e9);
}

double ArrivalSchedule::MomentOf(double num_due) const {
  if (!rate_.is_ramp()) return num_due / rate_.from;
  // from t + change t^2 / 2 = num_due; a rate that falls to 0 reaches some numbers never.
  const double root = std::sqrt(rate_.from * rate_.from + 2.0 * rate_change_ * num_due);
  return 2.0 * num_due / (rate_.from + root);
}

}  // namespace latentd
