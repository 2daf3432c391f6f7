#include "engine/loop/engine_thread.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace latentd {
namespace {

// Waits are cut to this: kNever - now would overflow inside the standard library, and waking once an hour costs
// nothing.
constexpr Duration kLongestWait = std::chrono::hours(1);

Duration TimeUntil(TimePoint then, const Clock& clock) {
  const TimePoint now = clock.Now();
  if (then <= now) return Duration::zero();
  return then > now + kLongestWait ? kLongestWait : then - now;
}

DoorRules DoorOf(const SchedulerOptions& options, const QueueLoad& most_queued) {
  return {.most_queued = most_queued,
          .tenants = options.tenants,
          .finds_prompts = options.prefix_cache == PrefixCacheMode::kOn};
}

}  // namespace

EngineThread::EngineThread(std::unique_ptr<Engine> engine, PublisherThread& publisher, const Clock& clock,
                           const QueueLoad& most_queued, EngineChecks checks)
    : publisher_(publisher),
      clock_(clock),
      inbox_(DoorOf(engine->scheduler().options(), most_queued)),
      loop_(std::move(engine), clock),
      kv_events_(loop_.engine().scheduler().kv_events()),
      checks_(std::move(checks)) {
  inbox_.SetPace(loop_.engine().tokens_per_second());
  publisher_.Start(inbox_);
  thread_ = std::thread([this] { Run(); });
}

EngineThread::~EngineThread() {
  inbox_.StopAdmitting();
  inbox_.CancelAll();
  inbox_.Close();
  thread_.join();
  publisher_.Stop();
}

std::optional<Refusal> EngineThread::Submit(Request request, std::shared_ptr<TokenStream> stream) {
  if (const absl::Status status = CheckFits(request, loop_.engine().scheduler().capacity()); !status.ok()) {
    return Refusal{.cause = RefusalCause::kNeverFits, .message = std::string(status.message())};
  }
  return inbox_.Submit({.request = std::move(request), .stream = std::move(stream)}, clock_.Now());
}

bool EngineThread::AwaitIdle(TimePoint deadline) {
  while (true) {
    const uint64_t num_submitted = inbox_.num_submitted();
    const Duration timeout = TimeUntil(deadline, clock_);
    if (publisher_.AwaitEnds(num_submitted, timeout)) {
      if (inbox_.num_submitted() == num_submitted) return true;
    } else if (TimeUntil(deadline, clock_) == Duration::zero()) {
      return false;
    }
  }
}

void EngineThread::Run() {
  while (true) {
    // Read before the commands are taken: all that came before Close is in them then.
    const bool closed = inbox_.closed();
    progress_.Begin();
    const bool is_idle = RunTurn();
    progress_.FinishStep();
    if (closed) break;
    if (!is_idle) continue;
    progress_.Rest();
    inbox_.WaitFor(TimeUntil(turn_.next_expiry, clock_));
  }
}

bool EngineThread::RunTurn() {
  loop_.Run(inbox_.Take(), turn_);
  inbox_.SetPace(turn_.tokens_per_second);
  if (!turn_.left_queue.empty()) inbox_.LeaveQueue(turn_.left_queue, clock_.Now());
  publisher_.Publish(turn_.opened, turn_.output);
  kv_events_.Tell();
  if (checks_.check) CheckInvariants();
  return turn_.idle;
}

void EngineThread::CheckInvariants() {
  const TimePoint began = clock_.Now();
  if (!watch_.IsDue(began)) return;
  const absl::Status status = checks_.check(loop_.engine().scheduler());
  watch_.Checked(began, clock_.Now());
  if (status.ok()) return;
  checks_.on_broken(status, recorder());
  checks_ = {};
}

}  // namespace latentd
