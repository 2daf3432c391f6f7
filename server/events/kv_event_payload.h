// KV events as routers read them: msgpack in the fields of vLLM, docs/spec/operate.md 3. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/schedule/kv_events.h"

namespace latentd {

// [seconds since 1970, [event, …], 0]: a batch, of the only rank. A block is named by the low half of its hash.
std::string PayloadOf(std::span<const KvEvent> events, double seconds);
// Stamped with the system's time.
std::string PayloadNow(std::span<const KvEvent> events);

// Eight bytes, the highest first.
std::string NumberBytes(uint64_t number);
// -1: nothing follows in this replay.
inline constexpr uint64_t kEndOfReplay = ~uint64_t{0};

}  // namespace latentd
