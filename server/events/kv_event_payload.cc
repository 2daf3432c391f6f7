#include "server/events/kv_event_payload.h"

#include <chrono>
#include <string_view>

#include <msgpack/pack.hpp>
#include <msgpack/sbuffer.hpp>

#include "kernels/cache_block.h"

namespace latentd {
namespace {

using Packer = msgpack::packer<msgpack::sbuffer>;

constexpr std::string_view kMedium = "GPU";  // the tier that an engine computes from, whatever the device
constexpr int kFieldsOfStored = 9, kFieldsOfRemoved = 3;

void PackText(std::string_view text, Packer& packer) {
  packer.pack_str(static_cast<uint32_t>(text.size()));
  packer.pack_str_body(text.data(), static_cast<uint32_t>(text.size()));
}

void PackHashes(const BlockHash& hash, Packer& packer) {
  PackText("block_hashes", packer);
  packer.pack_array(1);
  packer.pack_uint64(hash.low);
}

// For each block what its hash depends on beside its ids: of a first block the salt as the request gave it, and the
// tenant.
void PackExtraKeys(const KvEvent& event, Packer& packer) {
  PackText("extra_keys", packer);
  const SaltParts parts = PartsOfSalt(event.salt);
  const uint32_t num_keys = (parts.salt.empty() ? 0u : 1u) + (parts.tenant.empty() ? 0u : 1u);
  if (num_keys == 0) {
    packer.pack_nil();
    return;
  }
  packer.pack_array(1);
  packer.pack_array(num_keys);
  if (!parts.salt.empty()) PackText(parts.salt, packer);
  if (!parts.tenant.empty()) PackText("tenant:" + std::string(parts.tenant), packer);
}

void PackStored(const KvEvent& event, Packer& packer) {
  packer.pack_map(kFieldsOfStored);
  PackText("type", packer);
  PackText("BlockStored", packer);
  PackHashes(event.hash, packer);
  PackText("parent_block_hash", packer);
  if (event.parent) {
    packer.pack_uint64(event.parent->low);
  } else {
    packer.pack_nil();
  }
  PackText("token_ids", packer);
  packer.pack_array(static_cast<uint32_t>(event.token_ids.size()));
  for (const int32_t id : event.token_ids) packer.pack_int32(id);
  PackText("block_size", packer);
  packer.pack_int32(kBlockSlots);
  PackText("lora_id", packer);
  packer.pack_nil();
  PackText("medium", packer);
  PackText(kMedium, packer);
  PackText("lora_name", packer);
  packer.pack_nil();
  PackExtraKeys(event, packer);
}

void PackRemoved(const KvEvent& event, Packer& packer) {
  packer.pack_map(kFieldsOfRemoved);
  PackText("type", packer);
  PackText("BlockRemoved", packer);
  PackHashes(event.hash, packer);
  PackText("medium", packer);
  PackText(kMedium, packer);
}

void PackEvent(const KvEvent& event, Packer& packer) {
  switch (event.kind) {
    case KvEvent::Kind::kStored:
      return PackStored(event, packer);
    case KvEvent::Kind::kRemoved:
      return PackRemoved(event, packer);
    case KvEvent::Kind::kCleared:
      packer.pack_map(1);
      PackText("type", packer);
      PackText("AllBlocksCleared", packer);
  }
}

}  // namespace

std::string PayloadOf(std::span<const KvEvent> events, double seconds) {
  msgpack::sbuffer bytes;
  Packer packer(bytes);
  packer.pack_array(3);
  packer.pack_double(seconds);
  packer.pack_array(static_cast<uint32_t>(events.size()));
  for (const KvEvent& event : events) PackEvent(event, packer);
  packer.pack_int32(0);
  return {bytes.data(), bytes.size()};
}

std::string PayloadNow(std::span<const KvEvent> events) {
  return PayloadOf(events, std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
}

std::string NumberBytes(uint64_t number) {
  std::string bytes(sizeof(number), '\0');
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte, number >>= 8) *byte = static_cast<char>(number & 0xff);
  return bytes;
}

}  // namespace latentd
