#include "server/call/final_cause.h"

#include <chrono>

namespace latentd {
namespace {

// The client's timer runs out as much earlier than ours as its request travelled; gRPC then shows a plain cancellation.
constexpr std::chrono::milliseconds kDeadlineSlack{50};

Cause ExpiredAt(Progress progress) {
  switch (progress) {
    case Progress::kQueued:
      return Cause::kExpiredInQueue;
    case Progress::kPrefill:
      return Cause::kExpiredInPrefill;
    case Progress::kDecode:
      break;
  }
  return Cause::kExpiredInDecode;
}

Cause CancelledOrExpired(const CallEnd& end) {
  return end.deadline_passed ? ExpiredAt(end.progress) : Cause::kClientCancel;
}

}  // namespace

bool IsExpired(TimePoint cancelled_at, TimePoint deadline) {
  return deadline != kNever && cancelled_at != kNever && cancelled_at + kDeadlineSlack >= deadline;
}

Progress ProgressOf(const StreamEnd& end) {
  if (end.output_tokens > 0) return Progress::kDecode;
  return end.timings.first_scheduled == kNever ? Progress::kQueued : Progress::kPrefill;
}

Cause FinalCause(const CallEnd& end) {
  if (end.engine == FinishReason::kCancelled) return CancelledOrExpired(end);
  const Cause engine = CauseOf(end.engine);
  if (!RowOf(engine).is_success()) return engine;
  switch (end.fate) {
    case AnswerFate::kTakenWhole:
      break;
    case AnswerFate::kStuck:
      return Cause::kSlowConsumer;
    case AnswerFate::kDisplaced:
      return Cause::kAnswersFull;
    case AnswerFate::kLeft:
      return end.is_cut_short ? Cause::kDraining : CancelledOrExpired(end);
  }
  return engine;
}

}  // namespace latentd
