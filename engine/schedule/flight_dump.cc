#include "engine/schedule/flight_dump.h"

#include <concepts>
#include <type_traits>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "base/utf8.h"

namespace latentd {
namespace {

constexpr std::string_view kMagic = "LATFLGHT";

// Writes numbers one after the other.
class ByteWriter {
 public:
  explicit ByteWriter(char* next) : next_(next) {}

  template <std::integral Number>
  void Put(Number number) {
    const auto bits = static_cast<std::make_unsigned_t<Number>>(number);
    for (size_t i = 0; i < sizeof(Number); ++i) *next_++ = static_cast<char>(bits >> (8 * i) & 0xff);
  }
  void Put(std::string_view text) { next_ += text.copy(next_, text.size()); }

 private:
  char* next_;
};

// Reads them again; `bytes` must have them.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  template <std::integral Number>
  Number Take() {
    std::make_unsigned_t<Number> bits = 0;
    for (size_t i = 0; i < sizeof(Number); ++i) {
      bits |= static_cast<std::make_unsigned_t<Number>>(
          static_cast<std::make_unsigned_t<Number>>(static_cast<unsigned char>(bytes_[i])) << (8 * i));
    }
    bytes_.remove_prefix(sizeof(Number));
    return static_cast<Number>(bits);
  }

 private:
  std::string_view bytes_;
};

template <class... Arguments>
absl::Status Refuse(const absl::FormatSpec<Arguments...>& format, const Arguments&... arguments) {
  return absl::InvalidArgumentError("expected a dump of the flight recorder, found " +
                                    absl::StrFormat(format, arguments...));
}

FlightEntry DecodedEntry(std::string_view bytes, uint32_t& decision) {
  ByteReader reader(bytes);
  FlightEntry entry;
  entry.nanoseconds = reader.Take<int64_t>();
  entry.request = reader.Take<uint64_t>();
  decision = reader.Take<uint32_t>();
  entry.decision = static_cast<FlightDecision>(decision);
  entry.index = reader.Take<int32_t>();
  for (int32_t& number : entry.numbers) number = reader.Take<int32_t>();
  return entry;
}

absl::StatusOr<FlightDumpHead> ReadHead(std::string_view bytes) {
  if (bytes.size() < kFlightHeadBytes) return Refuse("%d bytes", bytes.size());
  if (!bytes.starts_with(kMagic)) return Refuse("%s", QuotedExcerpt(bytes.substr(0, kMagic.size())));
  ByteReader reader(bytes.substr(kMagic.size()));
  const auto version = reader.Take<uint32_t>();
  if (version != kFlightDumpVersion) return Refuse("version %d; this program reads %d", version, kFlightDumpVersion);
  FlightDumpHead head{.fingerprint_bytes = reader.Take<uint32_t>()};
  head.num_entries = reader.Take<uint64_t>();
  head.num_recorded = reader.Take<uint64_t>();
  head.clock_nanoseconds = reader.Take<int64_t>();
  head.unix_nanoseconds = reader.Take<int64_t>();
  if (head.fingerprint_bytes > kMaxFlightFingerprintBytes) {
    return Refuse("a fingerprint of %d bytes, at most %d", head.fingerprint_bytes, kMaxFlightFingerprintBytes);
  }
  if (head.num_entries > head.num_recorded) {
    return Refuse("%d entries of %d that were recorded", head.num_entries, head.num_recorded);
  }
  // Checked before it is multiplied.
  const size_t num_bytes = bytes.size() - kFlightHeadBytes;
  const size_t text_bytes = head.fingerprint_bytes;
  if (head.num_entries > num_bytes / kFlightEntryBytes ||
      num_bytes != text_bytes + head.num_entries * kFlightEntryBytes) {
    return Refuse("%d bytes for %d entries", bytes.size(), head.num_entries);
  }
  return head;
}

}  // namespace

std::array<char, kFlightHeadBytes> EncodedFlightHead(const FlightDumpHead& head) {
  std::array<char, kFlightHeadBytes> bytes;
  ByteWriter writer(bytes.data());
  writer.Put(kMagic);
  writer.Put(kFlightDumpVersion);
  writer.Put(head.fingerprint_bytes);
  writer.Put(head.num_entries);
  writer.Put(head.num_recorded);
  writer.Put(head.clock_nanoseconds);
  writer.Put(head.unix_nanoseconds);
  return bytes;
}

std::array<char, kFlightEntryBytes> EncodedFlightEntry(const FlightEntry& entry) {
  std::array<char, kFlightEntryBytes> bytes;
  ByteWriter writer(bytes.data());
  writer.Put(entry.nanoseconds);
  writer.Put(entry.request);
  writer.Put(static_cast<uint32_t>(entry.decision));
  writer.Put(entry.index);
  for (const int32_t number : entry.numbers) writer.Put(number);
  return bytes;
}

std::string WriteFlightDump(const FlightDump& dump) {
  const std::string_view fingerprint = CutText(dump.fingerprint, kMaxFlightFingerprintBytes);
  const auto head = EncodedFlightHead({.num_entries = dump.entries.size(),
                                       .num_recorded = dump.num_recorded,
                                       .clock_nanoseconds = dump.clock_nanoseconds,
                                       .unix_nanoseconds = dump.unix_nanoseconds,
                                       .fingerprint_bytes = static_cast<uint32_t>(fingerprint.size())});
  std::string bytes;
  bytes.reserve(head.size() + fingerprint.size() + dump.entries.size() * kFlightEntryBytes);
  bytes.append(head.data(), head.size());
  bytes.append(fingerprint);
  for (const FlightEntry& entry : dump.entries) {
    const auto encoded = EncodedFlightEntry(entry);
    bytes.append(encoded.data(), encoded.size());
  }
  return bytes;
}

absl::StatusOr<FlightDump> ReadFlightDump(std::string_view bytes) {
  const absl::StatusOr<FlightDumpHead> head = ReadHead(bytes);
  if (!head.ok()) return head.status();
  bytes.remove_prefix(kFlightHeadBytes);
  FlightDump dump{.fingerprint = std::string(bytes.substr(0, head->fingerprint_bytes)),
                  .num_recorded = head->num_recorded,
                  .clock_nanoseconds = head->clock_nanoseconds,
                  .unix_nanoseconds = head->unix_nanoseconds};
  if (FindInvalidUtf8(dump.fingerprint)) return Refuse("a fingerprint that is not UTF-8");
  bytes.remove_prefix(head->fingerprint_bytes);
  dump.entries.reserve(head->num_entries);
  int64_t before = 0;
  for (; !bytes.empty(); bytes.remove_prefix(kFlightEntryBytes)) {
    uint32_t decision = 0;
    const FlightEntry entry = DecodedEntry(bytes, decision);
    const size_t number = dump.entries.size();
    if (decision >= kNumFlightDecisions) return Refuse("decision %d in entry %d", decision, number);
    if (entry.index < 0) return Refuse("index %d in entry %d", entry.index, number);
    if (entry.nanoseconds < before) return Refuse("entry %d before the one that it follows", number);
    before = entry.nanoseconds;
    dump.entries.push_back(entry);
  }
  if (dump.clock_nanoseconds < before) return Refuse("entries of a time after the dump's");
  if (dump.unix_nanoseconds < 0) return Refuse("a dump of before 1970");
  return dump;
}

}  // namespace latentd
