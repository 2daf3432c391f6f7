// Everything that is special to one world, as a value drawn from its seed: sizes, requests, readers, faults. A world
// itself draws how long things take and what comes first in one moment, by the seed, the thing and the moment alone: so
// with some requests and faults taken out it runs as the whole one did where they had no part.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/loop/queue_limit.h"
#include "engine/request.h"
#include "engine/step/engine.h"
#include "tests/simulation/faults.h"

namespace latentd::simulation {

struct PlannedRequest {
  int number = 0;        // in the scenario as it was drawn
  Duration arrival{};    // after the start
  Request request = {};  // without id and `received`; deadlines are counted from the arrival
  std::optional<Duration> deadline = {}, queue_deadline = {};
  Duration reading{};  // from the moment the reader is woken to its Take
  size_t max_pending_bytes = 0;
};

struct StepTimes {
  Duration fixed{};
  Duration per_token{};
  Duration jitter{};  // of each step, from 0 on
};

struct Scenario {
  uint64_t seed = 0;
  EngineOptions engine = {};
  QueueLoad most_queued = {};
  int64_t max_backlog_bytes = 0;
  StepTimes step = {};
  Duration publishing{};  // the longest that the publisher takes to wake
  Duration span{};        // arrivals and faults come within it
  std::vector<PlannedRequest> requests = {};
  std::vector<Fault> faults = {};
};

Scenario DrawScenario(uint64_t seed);

}  // namespace latentd::simulation
