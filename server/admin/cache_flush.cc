#include "server/admin/cache_flush.h"

#include <optional>

#include "latentd/v1/admin.pb.h"
#include "server/api/wire_message.h"

namespace latentd {
namespace {

std::string ResultOf(int64_t blocks_freed) {
  v1::FlushPrefixCacheResult result;
  result.set_blocks_freed(static_cast<uint64_t>(blocks_freed));
  return result.SerializeAsString();
}

}  // namespace

void CacheFlush::Handle(MessageBytes request) {
  v1::FlushPrefixCacheRequest message;
  if (absl::Status status = ParseMessage(request, &message); !status.ok()) return Refuse(status);
  EchoTrace();
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr) return Answer(ResultOf(0));  // while the model loads nothing is cached
  reply_->Expect([this] { parts_.egress.Wake(slot_); });
  serving->live.engine().FlushPrefixCache([reply = reply_](int64_t blocks_freed) { reply->Give(blocks_freed); });
}

void CacheFlush::Pump() {
  if (has_left()) return Ended(AnswerFate::kLeft, 0);
  if (const std::optional<int64_t> blocks_freed = reply_->Take()) Answer(ResultOf(*blocks_freed));
}

}  // namespace latentd
