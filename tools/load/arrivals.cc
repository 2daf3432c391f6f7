#include "tools/load/arrivals.h"

namespace latentd {

ArrivalSchedule::ArrivalSchedule(Arrival arrival, double rate, uint64_t seed)
    : arrival_(arrival), mean_gap_seconds_(1.0 / rate), random_(seed, Purpose::kArrivals) {}

int64_t ArrivalSchedule::Next() {
  if (arrival_ == Arrival::kConstant) {
    // A product, not a sum: the millionth arrival is where it belongs.
    last_seconds_ = static_cast<double>(num_arrivals_) * mean_gap_seconds_;
  } else {
    last_seconds_ += random_.Exponential() * mean_gap_seconds_;
  }
  ++num_arrivals_;
  return static_cast<int64_t>(last_seconds_ * 1e9);
}

}  // namespace latentd
