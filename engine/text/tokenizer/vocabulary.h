// The bytes and the meaning of each token id. Constant once it is filled.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

namespace latentd {

class Vocabulary {
 public:
  // Bounds what a broken file can make us allocate; the largest published vocabulary has 262,144 ids.
  static constexpr int32_t kMaxTokens = 1 << 20;

  // `id` must be below kMaxTokens. Two different tokens with one id are refused.
  absl::Status Add(int32_t id, std::string_view bytes);
  void MarkSpecial(int32_t id) { entries_[static_cast<size_t>(id)].special = true; }

  int size() const { return static_cast<int>(entries_.size()); }  // the highest id + 1
  bool Has(int32_t id) const { return id >= 0 && id < size() && entries_[static_cast<size_t>(id)].exists; }
  bool IsSpecial(int32_t id) const { return Has(id) && entries_[static_cast<size_t>(id)].special; }
  size_t longest_bytes() const { return longest_bytes_; }  // of any token
  // Empty for ids that do not exist.
  std::string_view Bytes(int32_t id) const;

 private:
  struct Entry {
    size_t offset = 0;
    uint32_t length = 0;
    bool exists = false;
    bool special = false;
  };

  std::string bytes_;  // of all tokens, one behind another
  std::vector<Entry> entries_;
  size_t longest_bytes_ = 0;
};

}  // namespace latentd
