// A dump of the flight recorder as a scenario: the requests that it saw come, with their lengths, their shares of the
// prefix cache as far as it tells them, the commands, and how long each step took. Tokens, and what was there before
// the dump begins, are not in it.
#pragma once

#include "engine/schedule/flight_dump.h"
#include "tests/simulation/workload.h"

namespace latentd::simulation {

Scenario ScenarioOf(const FlightDump& dump);

}  // namespace latentd::simulation
