#include "tests/simulation/violation.h"

#include <cstdio>

#include <unistd.h>

#include "base/check.h"

namespace latentd::simulation {

std::string_view NameOf(Rule rule) {
  switch (rule) {
    case Rule::kBlocks:
      return "blocks";
    case Rule::kSlots:
      return "slots";
    case Rule::kBudget:
      return "budget";
    case Rule::kOrder:
      return "order";
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
  std::fprintf(stderr, "violation of %s: %s\n", std::string(NameOf(rule)).c_str(), what.c_str());
  std::fflush(nullptr);
  _exit(kViolatedExitCode);
}

}  // namespace latentd::simulation
