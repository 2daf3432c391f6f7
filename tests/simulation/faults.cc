#include "tests/simulation/faults.h"

#include <array>

namespace latentd::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kMostFaults = 40;

FaultKind DrawKind(Random& random) {
  constexpr std::array kKinds = {FaultKind::kCancel,        FaultKind::kCancel,   FaultKind::kCancel,
                                 FaultKind::kAbort,         FaultKind::kVanish,   FaultKind::kVanish,
                                 FaultKind::kStall,         FaultKind::kStall,    FaultKind::kNonFinite,
                                 FaultKind::kNonFinite,     FaultKind::kLongStep, FaultKind::kLongStep,
                                 FaultKind::kLatePublisher, FaultKind::kDescribe, FaultKind::kClockJump,
                                 FaultKind::kFlush,         FaultKind::kFlush};
  return kKinds[static_cast<size_t>(random.Below(kKinds.size()))];
}

bool HasMoment(FaultKind kind) {
  return kind == FaultKind::kCancel || kind == FaultKind::kAbort || kind == FaultKind::kVanish ||
         kind == FaultKind::kStall;
}

Fault DrawFault(int num_requests, Duration span, Random& random) {
  Fault fault{.kind = DrawKind(random), .at = random.Within(span), .request = random.Below(num_requests)};
  if (HasMoment(fault.kind)) fault.moment = static_cast<Moment>(random.Below(5));
  fault.count = random.OneIn(2) ? random.Below(4) : random.Below(60);
  fault.length = random.OneIn(4) ? random.Within(seconds(5)) : random.Within(milliseconds(400));
  return fault;
}

void AddDrain(Duration span, Random& random, std::vector<Fault>& faults) {
  const Duration at = random.Within(span);
  faults.push_back({.kind = FaultKind::kStopAdmitting, .at = at});
  if (random.OneIn(3)) return;
  faults.push_back({.kind = FaultKind::kEndAll, .at = at + random.Within(milliseconds(1500))});
}

}  // namespace

std::string_view NameOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kCancel:
      return "cancel";
    case FaultKind::kAbort:
      return "abort";
    case FaultKind::kVanish:
      return "vanish";
    case FaultKind::kStall:
      return "stall";
    case FaultKind::kNonFinite:
      return "non-finite";
    case FaultKind::kLongStep:
      return "long step";
    case FaultKind::kLatePublisher:
      return "late publisher";
    case FaultKind::kClockJump:
      return "clock jump";
    case FaultKind::kDescribe:
      return "describe";
    case FaultKind::kFlush:
      return "flush";
    case FaultKind::kStopAdmitting:
      return "stop admitting";
    case FaultKind::kEndAll:
      return "end all";
  }
  CHECK(false);
}

std::vector<Fault> DrawFaults(int num_requests, Duration span, Random& random) {
  std::vector<Fault> faults;
  if (random.OneIn(8)) return faults;
  for (int left = random.Below(kMostFaults); left > 0; --left) {
    faults.push_back(DrawFault(num_requests, span, random));
  }
  if (random.OneIn(6)) AddDrain(span, random, faults);
  for (size_t i = 0; i < faults.size(); ++i) faults[i].number = static_cast<int>(i);
  return faults;
}

}  // namespace latentd::simulation
