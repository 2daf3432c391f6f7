#include "engine/engine_thread.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/publisher.h"
#include "kernels/check.h"

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
                           size_t max_queued_requests)
    : engine_(std::move(engine)), publisher_(publisher), clock_(clock), inbox_(max_queued_requests) {
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

absl::Status EngineThread::Submit(Request request, std::shared_ptr<TokenStream> stream) {
  if (absl::Status status = engine_->CheckFits(request); !status.ok()) return status;
  return inbox_.Submit({.request = std::move(request), .stream = std::move(stream)});
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
    Apply(inbox_.Take());
    Step();
    if (closed) break;
  }
}

void EngineThread::Apply(Commands commands) {
  for (Submission& submission : commands.submissions) {
    publisher_.Open(submission.request, std::move(submission.stream));
    const absl::Status status = engine_->Add(std::move(submission.request));
    CHECK(status.ok());  // Submit asked the same question
    ++num_waiting_;
  }
  for (const auto& [id, command] : commands.of_sequences) {
    if (command.reader == ReaderState::kFull) engine_->Pause(id);
    if (command.reader == ReaderState::kCaughtUp) engine_->Resume(id);
    if (command.end) engine_->Cancel(id, *command.end);
  }
  if (commands.cancel_all) engine_->CancelAll(FinishReason::kDraining);
}

void EngineThread::Step() {
  StepOutput output = engine_->Step(clock_.Now());
  engine_->FinishStep(clock_.Now(), output);
  if (const int left = num_waiting_ - engine_->scheduler().num_waiting(); left > 0) {
    num_waiting_ -= left;
    inbox_.LeaveQueue(static_cast<size_t>(left));
  }
  const bool idle = output.idle();
  publisher_.Publish(std::move(output));
  if (idle) inbox_.WaitFor(TimeUntil(engine_->NextExpiry(), clock_));
}

}  // namespace latentd
