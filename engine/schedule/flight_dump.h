// The flight recorder's entries as bytes: what Admin streams, what a stall or a failed check leaves in a file, and what
// latentctl and the simulator read. Little-endian, the same on every machine:
//
//    0   8 bytes  "LATFLGHT"
//    8   u32      kFlightDumpVersion
//   12   u32      bytes of the fingerprint
//   16   u64      entries in the dump, the last of those that were ever recorded
//   24   u64      entries that were ever recorded
//   32   i64      nanoseconds of the engine's clock when the dump was taken
//   40   i64      nanoseconds since 1970, UTC, at that moment
//   48            the fingerprint, UTF-8: model and numerics, as GetModel tells them
//                 the entries, the oldest first: i64 nanoseconds of the engine's clock, u64 request, u32 decision,
//                 i32 index, four i32 numbers (engine/schedule/flight_entry.h)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/schedule/flight_entry.h"

namespace latentd {

inline constexpr uint32_t kFlightDumpVersion = 1;
inline constexpr size_t kFlightHeadBytes = 48;
inline constexpr size_t kFlightEntryBytes = 40;
inline constexpr size_t kMaxFlightFingerprintBytes = 256;

// What a dump says of itself.
struct FlightDumpHead {
  uint64_t num_entries = 0;
  uint64_t num_recorded = 0;
  int64_t clock_nanoseconds = 0;
  int64_t unix_nanoseconds = 0;
  uint32_t fingerprint_bytes = 0;
};

struct FlightDump {
  std::string fingerprint = {};  // of which the first kMaxFlightFingerprintBytes are written
  uint64_t num_recorded = 0;
  int64_t clock_nanoseconds = 0;
  int64_t unix_nanoseconds = 0;
  std::vector<FlightEntry> entries = {};
  bool operator==(const FlightDump&) const = default;
};

std::string WriteFlightDump(const FlightDump& dump);
// The parts of it, for a writer that must not allocate.
std::array<char, kFlightHeadBytes> EncodedFlightHead(const FlightDumpHead& head);
std::array<char, kFlightEntryBytes> EncodedFlightEntry(const FlightEntry& entry);

// INVALID_ARGUMENT, with what was expected and found, for bytes that WriteFlightDump does not write: of an unknown
// version, cut or too long, with a decision that there is none of, or with times that go back.
absl::StatusOr<FlightDump> ReadFlightDump(std::string_view bytes);

}  // namespace latentd
