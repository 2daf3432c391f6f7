// Everything that is special to one world, as a value drawn from its seed: sizes, requests, readers, faults. A world
// itself draws how long things take and what comes first in one moment, by the seed, the thing and the moment alone: so
// with some requests and faults taken out it runs as the whole one did where they had no part.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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
  Request request = {};  // without id and `received`; the times below are counted from the arrival
  std::optional<Duration> deadline = {}, queue_deadline = {}, first_token = {};
  Duration reading{};  // from the moment the reader is woken to its Take
  size_t max_pending_bytes = 0;
};

struct StepTimes {
  Duration fixed{};
  Duration per_token{};
  Duration jitter{};                    // of each step, from 0 on
  std::vector<Duration> recorded = {};  // of the first steps, where they are known
};

// How right the drafts of a world are.
struct DrafterRule {
  double accuracy = 0.0;        // so many of one are what the model gives there
  double later_accuracy = 0.0;  // in every other period
  int period = 0;               // in steps; 0: it does not change
  int one_in_nonfinite = 0;     // of the layer's logits; 0: all are finite
};

// What the requests of a world are like, all of them.
struct Habits {
  std::vector<std::string> tenants = {};  // of whom a request is one; empty: none has a name
  std::vector<std::string> salts = {};
  int one_in_ranked = 0;   // so many have a priority of their own; 0: none
  int one_in_several = 0;  // n > 1
  int one_in_hurried = 0;  // a first token that is due
  int one_in_shy = 0;      // share less than they could: bypass, no_store
  int one_in_kept = 0;     // keep_for
  int one_in_drafts = 0;   // say how many tokens are drafted
};

struct Scenario {
  uint64_t seed = 0;
  EngineOptions engine = {};
  QueueLoad most_queued = {};
  int64_t max_backlog_bytes = 0;
  int64_t most_service = 0;  // of one sequence, where tenants have to get equal shares; else 0
  StepTimes step = {};
  DrafterRule drafter = {};
  Duration publishing{};  // the longest that the publisher takes to wake
  Duration span{};        // arrivals and faults come within it
  std::vector<PlannedRequest> requests = {};
  std::vector<Fault> faults = {};
};

Scenario DrawScenario(uint64_t seed);

}  // namespace latentd::simulation
