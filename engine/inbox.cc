#include "engine/inbox.h"

#include <utility>

#include <absl/strings/str_format.h>

#include "kernels/check.h"

namespace latentd {

absl::Status Inbox::Submit(Submission submission) {
  return commands_.Merge([&](Commands& commands) {
    if (!admitting_) return absl::UnavailableError("server is draining; send the request to another one");
    if (num_queued_ >= max_queued_) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("queue holds max_queued_requests=%d requests; retry later", max_queued_));
    }
    ++num_queued_;
    ++num_submitted_;
    commands.submissions.push_back(std::move(submission));
    return absl::OkStatus();
  });
}

void Inbox::Cancel(SequenceId id, FinishReason reason) {
  commands_.Merge([id, reason](Commands& commands) {
    std::optional<FinishReason>& end = commands.of_sequences[id].end;
    if (!end) end = reason;
  });
}

void Inbox::Pause(SequenceId id) {
  commands_.Merge([id](Commands& commands) { commands.of_sequences[id].reader = ReaderState::kFull; });
}

void Inbox::Resume(SequenceId id) {
  commands_.Merge([id](Commands& commands) { commands.of_sequences[id].reader = ReaderState::kCaughtUp; });
}

void Inbox::CancelAll() {
  commands_.Merge([](Commands& commands) { commands.cancel_all = true; });
}

void Inbox::StopAdmitting() {
  commands_.Locked([this] { admitting_ = false; });
}

void Inbox::Close() { commands_.Close(); }

void Inbox::LeaveQueue(size_t num_requests) {
  commands_.Locked([this, num_requests] {
    CHECK_LE(num_requests, num_queued_);
    num_queued_ -= num_requests;
  });
}

}  // namespace latentd
