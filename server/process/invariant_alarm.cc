#include "server/process/invariant_alarm.h"

#include <string>

#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>

#include "base/now.h"

namespace latentd {

void InvariantAlarm::Raise(const absl::Status& broken, const FlightRecorder& recorder, FlightDumps& dumps) {
  {
    const std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = absl::InternalError(absl::StrCat("an invariant is broken: ", broken.message()));
  }
  parts_.metrics.Update([](MetricsData& data) { ++data.kv_invariant_violations; });
  spdlog::error("engine: an invariant is broken: {}; not serving from now on, draining for at most {} s",
                std::string(broken.message()), parts_.drain_seconds);
  parts_.state.MoveTo(ServingState::Stage::kDraining);
  dumps.Save(recorder, "invariant");
  parts_.drain.Ask(Now() + FromSeconds(parts_.drain_seconds));
  parts_.stop.Send();
}

absl::Status InvariantAlarm::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace latentd
