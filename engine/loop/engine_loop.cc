#include "engine/loop/engine_loop.h"

#include <map>

#include "base/check.h"
#include "engine/schedule/kv_snapshot.h"

namespace latentd {

void EngineLoop::Begin(Commands commands) {
  CHECK(!has_begun_);
  has_begun_ = true;
  engine_->SetTime(clock_.Now());
  Apply(std::move(commands));
  has_late_commands_ = false;
  step_ = engine_->Begin(clock_.Now());
}

void EngineLoop::Complete(Turn& turn) {
  CHECK(has_begun_);
  has_begun_ = false;
  turn.opened.clear();
  turn.opened.swap(opened_);
  turn.output.Clear();
  if (step_) engine_->Complete(*std::exchange(step_, std::nullopt), clock_, turn.output);
  engine_->TakeDepartures(turn.left_queue);
  turn.tokens_per_second = engine_->tokens_per_second();
  turn.idle = turn.output.idle() && !has_late_commands_;
  turn.next_expiry = engine_->NextExpiry();
}

void EngineLoop::Apply(Commands commands) {
  if (!commands.empty()) has_late_commands_ = true;
  for (Submission& submission : commands.submissions) {
    opened_.push_back(OpeningOf(submission.request, std::move(submission.stream)));
    const absl::Status status = engine_->Add(std::move(submission.request));
    CHECK(status.ok() && "EngineThread::Submit asks the same CheckFits: look for a second way in");
  }
  for (const auto& [id, command] : commands.of_requests) {
    if (command.reader == ReaderState::kFull) engine_->Pause(id);
    if (command.reader == ReaderState::kCaughtUp) engine_->Resume(id);
    for (const int32_t index : command.cancelled)
      engine_->CancelSequence({.request = id, .index = index}, FinishReason::kCancelled);
    if (command.end) engine_->Cancel(id, *command.end, command.end_asked);
  }
  if (commands.cancel_all) engine_->CancelAll(FinishReason::kDraining);
  for (const StatusListener& listener : commands.describe) listener(engine_->Describe());
  for (const FlushListener& listener : commands.flush) listener(engine_->FlushPrefixCache());
  for (const KvSnapshotListener& listener : commands.kv_snapshots) listener(KvSnapshot(engine_->scheduler()));
}

}  // namespace latentd
