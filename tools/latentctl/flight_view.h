// A dump of the flight recorder, as lines for a terminal. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/schedule/flight_dump.h"

namespace latentd {

// Leaves only the decisions about one request.
void KeepRequest(uint64_t request, FlightDump& dump);

// What was recorded where, and when.
std::vector<std::string> FlightHead(const FlightDump& dump);
// One line per decision, with seconds since the first one.
std::vector<std::string> FlightTimeline(const FlightDump& dump);
// Ends, hits, preemptions and waits by reason, steps.
std::vector<std::string> FlightSummary(const FlightDump& dump);

// {"seconds":0.001234,"decision":"admit","request":7,"index":0,"numbers":[64,64,3,0]}, seconds since the engine's
// clock began.
std::string FlightJson(const FlightEntry& entry);

}  // namespace latentd
