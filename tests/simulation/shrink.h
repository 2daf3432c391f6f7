// Makes a failing scenario small: takes out groups of requests and faults, smaller and smaller, while it still fails.
#pragma once

#include <functional>

#include "tests/simulation/workload.h"

namespace latentd::simulation {

// `fails` must be true of the scenario that is given. It is asked at most `most_runs` times.
Scenario Shrink(Scenario scenario, const std::function<bool(const Scenario&)>& fails, int most_runs);

}  // namespace latentd::simulation
