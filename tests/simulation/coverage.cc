#include "tests/simulation/coverage.h"

namespace latentd::simulation {
namespace {

struct Row {
  std::string_view name;
  uint64_t least;  // in a thousand worlds
};

constexpr std::array<Row, kNumCounted> kRows = {{
    {"worlds", 1000},
    {"requests", 80000},
    {"admitted", 40000},
    {"steps", 300000},
    {"rows", 1},
    {"tokens", 1},
    {"events", 1},
    {"refused: queue full", 1},
    {"refused: queue tokens", 1},
    {"refused: tenant quota", 1000},
    {"refused: SLO unattainable", 40},
    {"refused: draining", 1},
    {"refused: never fits", 1},
    {"EOS", 1},
    {"stop string", 1},
    {"stop token", 1},
    {"max_tokens", 1},
    {"context limit", 1},
    {"scored", 1},
    {"cancelled", 1},
    {"aborted", 1},
    {"expired in the queue", 1},
    {"expired in prefill", 1},
    {"expired in decode", 200},
    {"SLO unattainable", 300},
    {"slow consumers", 60},
    {"non-finite", 1},
    {"drained", 100},
    {"pauses", 20000},
    {"resumes", 1},
    {"merged chunks", 1},
    {"commands after the end", 1},
    {"vanished readers", 1},
    {"commands in steps", 1},
    {"retired sequences", 500},
    {"hits", 5000},
    {"tokens from the cache", 100000},
    {"tail copies", 8000},
    {"evictions", 20000},
    {"preemptions for blocks", 1500},
    {"preemptions for priority", 1000},
    {"resumed after a preemption", 3000},
    {"recomputed tokens", 200000},
    {"forks", 2000},
    {"kept requests", 3000},
    {"tokens lost to another salt", 30000},
    {"tokens lost to eviction", 50000},
    {"worlds of colliding hashes", 150},
    {"worlds without a cache", 100},
    {"worlds that draft", 500},
    {"drafted tokens", 1},
    {"accepted drafts", 1},
    {"ends among drafts", 1},
    {"windows begun", 1},
    {"windows continued", 1},
    {"states computed again", 1},
    {"fault: cancel", 1},
    {"fault: abort", 1},
    {"fault: vanish", 1},
    {"fault: stall", 1},
    {"fault: non-finite row", 100},
    {"fault: long step", 1},
    {"fault: late publisher", 1},
    {"fault: clock jump", 1},
    {"described", 1},
    {"fault: flush", 800},
    {"fault: stop admitting", 1},
    {"fault: end all", 1},
}};

}  // namespace

std::string_view NameOf(Counted counted) { return kRows[static_cast<size_t>(counted)].name; }

uint64_t LeastOf(Counted counted) { return kRows[static_cast<size_t>(counted)].least; }

std::string Coverage::ToString() const {
  std::string text;
  for (size_t i = 0; i < kNumCounted; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(counts_[i]) + " " + std::string(kRows[i].name);
  }
  return text;
}

}  // namespace latentd::simulation
