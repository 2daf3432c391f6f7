#include "engine/loop/inbox.h"

#include <utility>

namespace latentd {

std::optional<Refusal> Inbox::Submit(Submission submission, TimePoint now) {
  return commands_.Merge([&](Commands& commands) -> std::optional<Refusal> {
    if (!admitting_) return Refusal{.cause = RefusalCause::kDraining, .message = "the engine admits nothing any more"};
    if (std::optional<Refusal> refusal = door_.Enter(submission.request, tokens_per_second_, now)) return refusal;
    ++num_submitted_;
    commands.submissions.push_back(std::move(submission));
    return std::nullopt;
  });
}

void Inbox::Cancel(RequestId id, FinishReason reason, TimePoint asked) {
  commands_.Merge([id, reason, asked](Commands& commands) {
    RequestCommand& command = commands.of_requests[id];
    if (command.end) return;
    command.end = reason;
    command.end_asked = asked;
  });
}

void Inbox::CancelSequence(SequenceId id) {
  commands_.Merge([id](Commands& commands) {
    RequestCommand& command = commands.of_requests[id.request];
    if (!command.end) command.cancelled.push_back(id.index);
  });
}

void Inbox::Pause(RequestId id) {
  commands_.Merge([id](Commands& commands) { commands.of_requests[id].reader = ReaderState::kFull; });
}

void Inbox::Resume(RequestId id) {
  commands_.Merge([id](Commands& commands) { commands.of_requests[id].reader = ReaderState::kCaughtUp; });
}

void Inbox::CancelAll() {
  commands_.Merge([](Commands& commands) { commands.cancel_all = true; });
}

void Inbox::Describe(StatusListener listener) {
  commands_.Merge([&listener](Commands& commands) { commands.describe.push_back(std::move(listener)); });
}

void Inbox::FlushPrefixCache(FlushListener listener) {
  commands_.Merge([&listener](Commands& commands) { commands.flush.push_back(std::move(listener)); });
}

void Inbox::SnapshotKvEvents(KvSnapshotListener listener) {
  commands_.Merge([&listener](Commands& commands) { commands.kv_snapshots.push_back(std::move(listener)); });
}

void Inbox::Send(const Effects& effects) {
  for (const SequenceId id : effects.cancel) CancelSequence(id);
  for (const auto& [id, stream] : effects.pause) Pause(id);
}

// The reader may have taken all before the Pause was sent; its Resume came too early then.
void Inbox::LookAgain(const Effects& effects) {
  for (const auto& [id, stream] : effects.pause) {
    if (!stream->full()) Resume(id);
  }
}

void Inbox::StopAdmitting() {
  commands_.Locked([this] { admitting_ = false; });
}

void Inbox::Close() { commands_.Close(); }

void Inbox::LeaveQueue(std::span<const RequestId> left, TimePoint now) {
  commands_.Locked([&] { door_.Leave(left, now); });
}

}  // namespace latentd
