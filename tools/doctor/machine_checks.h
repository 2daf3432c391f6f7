// What the machine and the container grant: cores, control groups, huge pages, descriptors, threads, the clock. Files
// of /proc and /sys and system calls that change nothing; `root` stands before both, for tests.
#pragma once

#include <filesystem>

#include "base/processors.h"
#include "server/config/config.h"
#include "tools/doctor/finding.h"

namespace latentd {

void CheckCores(const Config& config, const cpu::ProcessorFacts& facts, Findings& findings);
// Limits of the groups that this program runs in, and what they have cost: time throttled, processes killed.
void CheckCgroups(const std::filesystem::path& root, Findings& findings);
void CheckHugePages(const std::filesystem::path& root, Findings& findings);
void CheckLimits(const Config& config, Findings& findings);

// What adjtimex and the clocks say.
struct ClockFacts {
  double unix_seconds = 0.0;
  bool is_known = false;  // whether the kernel was allowed to tell the next two
  bool is_synchronised = false;
  double error_seconds = 0.0;  // the most by which it may be wrong
};
ClockFacts ReadClock();
void CheckClock(const ClockFacts& facts, Findings& findings);

}  // namespace latentd
