#include "tests/simulation/life.h"

#include <algorithm>

#include "base/check.h"

namespace latentd::simulation {
namespace {

// As where two RPCs take their ids in one order and submit in the other.
RequestId IdOf(int number) { return static_cast<RequestId>(number ^ 1) + 1; }

}  // namespace

TimePoint Life::Expiry(Duration slow_consumer) const {
  if (stage == Stage::kWaiting) return std::min(request.deadline, request.queue_deadline);
  if (!is_paused || paused_from == kNever) return request.deadline;
  return std::min(request.deadline, paused_from + slow_consumer);
}

FinishReason Life::ExpiryReason(TimePoint now) const {
  if (stage == Stage::kWaiting) return FinishReason::kExpiredInQueue;
  if (request.deadline > now) return FinishReason::kSlowConsumer;
  return num_generated == 0 ? FinishReason::kExpiredInPrefill : FinishReason::kExpiredInDecode;
}

Lives::Lives(const Scenario& scenario) {
  lives_.reserve(scenario.requests.size());
  for (const PlannedRequest& planned : scenario.requests) {
    Life& life = lives_.emplace_back();
    life.planned = &planned;
    life.request = planned.request;
    life.request.id = IdOf(planned.number);
    places_.resize(std::max(places_.size(), static_cast<size_t>(planned.number) + 1), -1);
    places_[static_cast<size_t>(planned.number)] = static_cast<int>(lives_.size()) - 1;
  }
}

Life* Lives::ByNumber(int number) {
  if (number < 0 || number >= static_cast<int>(places_.size())) return nullptr;
  const int place = places_[static_cast<size_t>(number)];
  return place < 0 ? nullptr : &lives_[static_cast<size_t>(place)];
}

Life& Lives::ById(RequestId id) {
  Life* life = ByNumber(static_cast<int>((id - 1) ^ 1));
  CHECK(life != nullptr);
  return *life;
}

}  // namespace latentd::simulation
