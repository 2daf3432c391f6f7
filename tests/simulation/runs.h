// Worlds in child processes: one that breaks a rule, fails a CHECK or crashes takes only itself along, and the parent
// knows which seed it was. The calling process must have no other threads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "engine/text/tokenizer/tokenizer.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/workload.h"
#include "tests/simulation/world.h"

namespace latentd::simulation {

struct Broken {
  std::string rule;    // as NameOf tells it; "check" for a CHECK of the product, "crash" for any other death
  std::string output;  // all that the child wrote on standard error
};

// Real time. A world takes milliseconds: one that takes so long goes round within one event.
inline constexpr unsigned kMostWorldSeconds = 60;

// Nothing where `work` came to its end. Violates kLiveness on SIGALRM, after kMostWorldSeconds at the latest.
std::optional<Broken> RunInChild(const std::function<void()>& work);

std::optional<Broken> RunScenario(const Scenario& scenario, const Tokenizer& tokenizer,
                                  Telling telling = Telling::kSilent);

struct SeedRange {
  uint64_t first = 1;
  uint64_t count = 1;
  int num_processes = 1;  // at a time
};

struct SeedsRun {
  Coverage coverage;                    // of the worlds in which every rule held
  std::optional<uint64_t> broken_seed;  // the lowest of those at which a process stopped
  Broken broken = {};
};

// Stops each process at its first broken world.
SeedsRun RunSeeds(const SeedRange& range, const Tokenizer& tokenizer);

}  // namespace latentd::simulation
