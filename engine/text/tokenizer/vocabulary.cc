#include "engine/text/tokenizer/vocabulary.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "base/check.h"
#include "base/quoting.h"

namespace latentd {

absl::Status Vocabulary::Add(int32_t id, std::string_view bytes) {
  CHECK(id >= 0 && id < kMaxTokens);
  if (id >= size()) entries_.resize(static_cast<size_t>(id) + 1);
  if (Has(id)) {
    if (Bytes(id) == bytes) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrFormat("id %d stands for %s and for %s, expected one token", id,
                                                      QuotedExcerpt(Bytes(id)), QuotedExcerpt(bytes)));
  }
  entries_[static_cast<size_t>(id)] = {
      .offset = bytes_.size(), .length = static_cast<uint32_t>(bytes.size()), .exists = true};
  bytes_ += bytes;
  longest_bytes_ = std::max(longest_bytes_, bytes.size());
  return absl::OkStatus();
}

std::string_view Vocabulary::Bytes(int32_t id) const {
  if (!Has(id)) return {};
  const Entry& entry = entries_[static_cast<size_t>(id)];
  return std::string_view(bytes_).substr(entry.offset, entry.length);
}

}  // namespace latentd
