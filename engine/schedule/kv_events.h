// What a router learns about the prefix cache: which full blocks became findable, and which are gone. Numbered without
// gaps; the last ones are held for readers to catch up. The engine thread writes, any thread reads.
//
// Full blocks alone: the partial tail that this cache finds too, and blocks of one request that no other may find, have
// no event. So a router expects at most 63 tokens less than a hit will have.
//
// They are recorded whether or not there is a reader, in memory that was taken at construction: a full block comes once
// in 64 tokens of a sequence, and a reader that comes later finds what the window holds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/schedule/chain_hash.h"
#include "kernels/cache_block.h"

namespace latentd {

struct KvEvent {
  enum class Kind : uint8_t {
    kStored,
    kRemoved,
    kCleared,  // all that were stored are gone
  };
  uint64_t number = 0;  // 1, 2, …
  Kind kind = Kind::kCleared;
  BlockHash hash = {};                              // kStored, kRemoved
  std::optional<BlockHash> parent = {};             // kStored: the block before it; none: it is a first one
  std::string salt = {};                            // kStored, of a first one: see PartsOfSalt
  std::array<int32_t, kBlockSlots> token_ids = {};  // kStored
};

// A salt as the scheduler makes it, tenant and cache.salt, and the two of it: a name of a tenant has no zero in it.
std::string JoinSalt(std::string_view tenant, std::string_view salt);
struct SaltParts {
  std::string_view tenant;
  std::string_view salt;
};
SaltParts PartsOfSalt(std::string_view joined);

class KvEvents {
 public:
  // Holds the last `capacity`.
  explicit KvEvents(size_t capacity);

  void Stored(const BlockHash& hash, const BlockHash& parent, std::span<const int32_t> token_ids);
  void StoredFirst(const BlockHash& hash, std::string_view salt, std::span<const int32_t> token_ids);
  void Removed(const BlockHash& hash);
  void Cleared();

  // Those from `number` on, at most `most`, the oldest first. Where the first one's number is greater, those before it
  // are no longer held. The engine thread may wait while they are copied.
  std::vector<KvEvent> From(uint64_t number, size_t most) const;
  uint64_t next_number() const;
  bool Holds(uint64_t number) const;  // it, or where it comes next, all before it

 private:
  KvEvent& Next(KvEvent::Kind kind);

  mutable std::mutex mutex_;
  std::vector<KvEvent> events_;  // a ring: number n at n % capacity
  uint64_t next_number_ = 1;
};

}  // namespace latentd
