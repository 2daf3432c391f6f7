// How many threads of this process can compute at once: what the scheduler's affinity and the cgroups' quota of CPU
// time grant, which in a container is less than the machine has.
#pragma once

#include <filesystem>
#include <limits>
#include <string>

namespace latentd::cpu {

struct ProcessorFacts {
  int online = 1;                                          // of the machine
  int allowed = 1;                                         // by the affinity, cpusets included
  double quota = std::numeric_limits<double>::infinity();  // processors' worth of time, the least of all cgroups
};

// `root` stands before /proc and /sys, for tests.
ProcessorFacts FindProcessors(const std::filesystem::path& root = "/");

struct ComputeThreads {
  int count = 1;
  std::string reason;  // for the log: what bounded it
};

// One for each allowed processor, and no more than the quota has whole ones: a thread beyond it only makes every step
// wait for the quota's next period. The rest of a fraction serves the other threads. At least one.
ComputeThreads ThreadsFor(const ProcessorFacts& facts);
inline ComputeThreads FindComputeThreads() { return ThreadsFor(FindProcessors()); }
// As many as were asked for, or where that is 0 what the machine grants.
inline int ThreadsOrGranted(int num_asked) { return num_asked > 0 ? num_asked : FindComputeThreads().count; }

}  // namespace latentd::cpu
