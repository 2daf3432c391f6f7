#include "server/smg/idle_flush.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include <absl/strings/str_format.h>

#include "base/now.h"
#include "server/api/field_checks.h"
#include "server/api/wire_message.h"
#include "smg/common.pb.h"

namespace latentd {
namespace {

namespace common = smg::grpc::common;

constexpr float kLongestWait = 3600.0f;
constexpr std::chrono::milliseconds kBetweenLooks{20};

enum class FlushOutcome : uint8_t { kFlushed, kBusy };

std::string ResultOf(FlushOutcome outcome, const std::string& message) {
  common::FlushCacheResponse result;
  result.set_success(outcome == FlushOutcome::kFlushed);
  result.set_message(message);
  return result.SerializeAsString();
}

}  // namespace

void IdleFlush::Handle(MessageBytes request) {
  const absl::StatusOr<common::FlushCacheRequest> message = ParseAs<common::FlushCacheRequest>(request);
  if (!message.ok()) return Refuse(message.status());
  FieldChecks checks;
  checks.Range("timeout_s", message->timeout_s(), 0.0f, kLongestWait);
  if (absl::Status status = checks.Result(); !status.ok()) return Refuse(status);
  EchoTrace();
  timeout_seconds_ = message->timeout_s();
  serving_ = gate_.Find();
  if (serving_ == nullptr) Answer(ResultOf(FlushOutcome::kFlushed, "nothing is cached while the model loads"));
}

void IdleFlush::Pump() {
  if (has_left()) return Ended(AnswerFate::kLeft, 0);
  if (has_asked_) {
    const std::optional<int64_t> blocks = reply_->Take();
    if (blocks) Answer(ResultOf(FlushOutcome::kFlushed, absl::StrFormat("%d blocks freed", *blocks)));
    return;
  }
  const size_t in_flight = serving_->live.size();
  if (in_flight == 0) return Ask();
  const TimePoint now = Now(), deadline = received() + FromSeconds(static_cast<double>(timeout_seconds_));
  if (now < deadline) return parts_.egress.WakeAt(slot_, std::min(deadline, now + kBetweenLooks));
  Answer(
      ResultOf(FlushOutcome::kBusy, absl::StrFormat("expected no request in flight within %g s, found %d; wait longer",
                                                    timeout_seconds_, in_flight)));
}

void IdleFlush::Ask() {
  has_asked_ = true;
  reply_->Expect([this] { parts_.egress.Wake(slot_); });
  serving_->live.engine().FlushPrefixCache([reply = reply_](int64_t blocks_freed) { reply->Give(blocks_freed); });
}

}  // namespace latentd
