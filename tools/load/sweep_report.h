// What a sweep found, level by level.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/load/report.h"
#include "tools/load/sweep.h"

namespace latentd {

struct SweptLevel {
  LevelOutcome outcome;
  LoadReport report;
};

struct SweepReport {
  SweepOptions options;
  std::vector<SweptLevel> levels;  // as they were run
};

struct LevelPlace {
  size_t number = 0;  // of levels before it
  double level = 0.0;
};

// The load at a level, with a seed of its own: the same prompts again would be found in the server's prefix cache.
LoadOptions AtLevel(LoadOptions options, const SweepOptions& sweep, const LevelPlace& place);
LevelOutcome OutcomeOf(double level, const Summary& summary);

// The table as it grows, and what the sweep came to behind it.
std::string SweepHeader(const SweepOptions& options);
std::string SweepRow(const SweptLevel& level);
std::string MakeSweepTable(const SweepReport& sweep);
std::string MakeSweepJson(const SweepReport& sweep);
std::string MakeSweepCsv(const SweepReport& sweep);

}  // namespace latentd
