#include "tests/simulation/violation.h"

#include <cstdio>

#include <unistd.h>

#include "base/check.h"
#include "base/last_act.h"
#include "tools/latentctl/flight_view.h"

namespace latentd::simulation {
namespace {

constexpr size_t kMostToldDecisions = 50;

const FlightRecorder* told = nullptr;

void TellDecisions() {
  if (told == nullptr) return;
  const uint64_t end = told->num_recorded();
  const FlightDump dump{.num_recorded = end, .entries = told->Before(end, kMostToldDecisions)};
  for (const std::string& line : FlightTimeline(dump)) std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace

void TellDecisionsOf(const FlightRecorder* recorder) {
  told = recorder;
  SetLastAct(TellDecisions);
}

std::string_view NameOf(Rule rule) {
  switch (rule) {
    case Rule::kBlocks:
      return "blocks";
    case Rule::kSlots:
      return "slots";
    case Rule::kCache:
      return "cache";
    case Rule::kBudget:
      return "budget";
    case Rule::kOrder:
      return "order";
    case Rule::kShare:
      return "share";
    case Rule::kEnded:
      return "ended";
    case Rule::kOneEnd:
      return "one-end";
    case Rule::kReason:
      return "reason";
    case Rule::kOutput:
      return "output";
    case Rule::kTimes:
      return "times";
    case Rule::kQueue:
      return "queue";
    case Rule::kBackLog:
      return "backlog";
    case Rule::kEvents:
      return "events";
    case Rule::kMetrics:
      return "metrics";
    case Rule::kLiveness:
      return "liveness";
    case Rule::kCheck:
      return "check";
  }
  CHECK(false);
}

void Violate(Rule rule, const std::string& what) {
  TellDecisions();
  std::fprintf(stderr, "violation of %s: %s\n", std::string(NameOf(rule)).c_str(), what.c_str());
  std::fflush(nullptr);
  _exit(kViolatedExitCode);
}

}  // namespace latentd::simulation
