#include "engine/loop/engine_thread.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "base/check.h"
#include "engine/loop/publisher.h"

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

}  // namespace

EngineThread::EngineThread(std::unique_ptr<Engine> engine, Publisher& publisher, const Clock& clock,
                           const QueueLoad& most_queued)
    : engine_(std::move(engine)),
      capacity_(engine_->scheduler().capacity()),
      publisher_(publisher),
      clock_(clock),
      inbox_(most_queued) {
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
  if (const absl::Status status = CheckFits(request, capacity_); !status.ok()) {
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
    Apply(inbox_.Take());
    Step();
    if (closed) break;
  }
}

void EngineThread::Apply(Commands commands) {
  for (Submission& submission : commands.submissions) {
    publisher_.Open(submission.request, std::move(submission.stream));
    ++waiting_.requests;
    waiting_.tokens += static_cast<int64_t>(submission.request.prompt.size());
    const absl::Status status = engine_->Add(std::move(submission.request));
    CHECK(status.ok());  // Submit asked the same question
  }
  for (const auto& [id, command] : commands.of_requests) {
    if (command.reader == ReaderState::kFull) engine_->Pause(id);
    if (command.reader == ReaderState::kCaughtUp) engine_->Resume(id);
    if (command.end) engine_->Cancel(id, *command.end, command.end_asked);
  }
  if (commands.cancel_all) engine_->CancelAll(FinishReason::kDraining);
  for (const StatusListener& listener : commands.describe) listener(engine_->Describe());
}

void EngineThread::Step() {
  StepOutput output = engine_->Step(clock_.Now());
  engine_->FinishStep(clock_.Now(), output);
  const Scheduler& scheduler = engine_->scheduler();
  const QueueLoad left = {.requests = waiting_.requests - scheduler.num_waiting(),
                          .tokens = waiting_.tokens - scheduler.num_waiting_tokens()};
  if (left.requests > 0) {
    waiting_ = {.requests = scheduler.num_waiting(), .tokens = scheduler.num_waiting_tokens()};
    inbox_.LeaveQueue(left, clock_.Now());
  }
  const bool idle = output.idle();
  publisher_.Publish(std::move(output));
  progress_.FinishStep();
  if (!idle) return;
  progress_.Rest();
  inbox_.WaitFor(TimeUntil(engine_->NextExpiry(), clock_));
}

}  // namespace latentd
