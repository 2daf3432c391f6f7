#include "tests/simulation/coverage.h"

namespace latentd::simulation {
namespace {

constexpr std::array<std::string_view, kNumCounted> kNames = {
    "worlds",
    "requests",
    "admitted",
    "steps",
    "rows",
    "tokens",
    "events",
    "refused: queue full",
    "refused: queue tokens",
    "refused: tenant quota",
    "refused: SLO unattainable",
    "refused: draining",
    "refused: never fits",
    "EOS",
    "stop string",
    "stop token",
    "max_tokens",
    "context limit",
    "scored",
    "cancelled",
    "aborted",
    "expired in the queue",
    "expired in prefill",
    "expired in decode",
    "SLO unattainable",
    "slow consumers",
    "non-finite",
    "drained",
    "pauses",
    "resumes",
    "merged chunks",
    "commands after the end",
    "vanished readers",
    "commands in steps",
    "retired sequences",
    "fault: cancel",
    "fault: abort",
    "fault: vanish",
    "fault: stall",
    "fault: non-finite row",
    "fault: long step",
    "fault: late publisher",
    "fault: clock jump",
    "described",
    "fault: stop admitting",
    "fault: end all",
};

}  // namespace

std::string_view NameOf(Counted counted) { return kNames[static_cast<size_t>(counted)]; }

std::string Coverage::ToString() const {
  std::string text;
  for (size_t i = 0; i < kNumCounted; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(counts_[i]) + " " + std::string(kNames[i]);
  }
  return text;
}

}  // namespace latentd::simulation
