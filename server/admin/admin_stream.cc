#include "server/admin/admin_stream.h"

#include <utility>

namespace latentd {

void AdminStream::Handle(MessageBytes request) {
  absl::StatusOr<Source> source = opener_(request);
  if (!source.ok()) return Refuse(source.status());
  source_ = *std::move(source);
  EchoTrace();
  open_.Add(slot_);
}

AdminStream::Supply AdminStream::Fill(WireState wire, TimePoint now, Messages& messages) {
  Supply supply{.may_have_more = true, .limits_writes = true};
  if (wire == WireState::kFree && !is_complete_) {
    Turn turn = source_(now);
    is_complete_ = turn.is_last;
    supply.next = turn.next;
    if (turn.message) messages.push_back(*std::move(turn.message));
  }
  supply.is_complete = is_complete_ || is_broken_;
  return supply;
}

}  // namespace latentd
