// One decision of the flight recorder in words. Pure functions; numbers that a dump cannot mean are shown as they are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/schedule/flight_entry.h"

namespace latentd {

// "1 token", "2 tokens"; "1,234 tokens".
std::string CountText(uint64_t count, std::string_view noun);

// The names of what an entry's first number stands for.
std::string FinishText(int32_t reason);
std::string WaitText(int32_t reason);
std::string PreemptionText(int32_t reason);

// "admit"; what the lines of --json and the simulator's replay call it.
std::string_view DecisionName(FlightDecision decision);
// "admitted: 64 tokens cached, computes from 64, holds 3 blocks"
std::string DecisionText(const FlightEntry& entry);

}  // namespace latentd
