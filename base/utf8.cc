#include "base/utf8.h"

#include <array>

#include "base/check.h"

namespace latentd {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The bytes that may follow a lead byte (Unicode table 3-7); only the second byte's range varies.
struct Lead {
  uint8_t length = 0;  // of the whole character; 0 is no lead byte
  uint8_t second_first = 0x80;
  uint8_t second_last = 0xBF;
};

constexpr Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {.length = 1};
  if (byte < 0xC2 || byte > 0xF4) return {};
  if (byte < 0xE0) return {.length = 2};
  if (byte == 0xE0) return {.length = 3, .second_first = 0xA0};
  if (byte == 0xED) return {.length = 3, .second_last = 0x9F};
  if (byte < 0xF0) return {.length = 3};
  if (byte == 0xF0) return {.length = 4, .second_first = 0x90};
  if (byte == 0xF4) return {.length = 4, .second_last = 0x8F};
  return {.length = 4};
}

constexpr std::array<Lead, 256> kLeads = [] {
  std::array<Lead, 256> leads;
  for (size_t i = 0; i < leads.size(); ++i) leads[i] = LeadOf(static_cast<uint8_t>(i));
  return leads;
}();

}  // namespace

Utf8Unit NextUtf8Unit(std::string_view bytes) {
  CHECK(!bytes.empty());
  const auto first = static_cast<uint8_t>(bytes[0]);
  const Lead& lead = kLeads[first];
  if (lead.length == 0) return {Utf8Unit::Kind::kInvalid, 1, 0};
  if (lead.length == 1) return {Utf8Unit::Kind::kCharacter, 1, first};
  uint32_t code_point = first & (0x7Fu >> lead.length);
  for (uint8_t i = 1; i < lead.length; ++i) {
    if (i >= bytes.size()) return {Utf8Unit::Kind::kIncomplete, i, 0};
    const auto next = static_cast<uint8_t>(bytes[i]);
    const uint8_t lowest = i == 1 ? lead.second_first : 0x80;
    const uint8_t highest = i == 1 ? lead.second_last : 0xBF;
    if (next < lowest || next > highest) return {Utf8Unit::Kind::kInvalid, i, 0};
    code_point = code_point << 6 | (next & 0x3Fu);
  }
  return {Utf8Unit::Kind::kCharacter, lead.length, code_point};
}

std::optional<size_t> FindInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Unit unit = NextUtf8Unit(text.substr(at));
    if (unit.kind != Utf8Unit::Kind::kCharacter) return at;
    at += unit.length;
  }
  return std::nullopt;
}

void AppendUtf8(uint32_t code_point, std::string& text) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += {static_cast<char>(0xC0 | code_point >> 6), tail(0)};
  } else if (code_point < 0x10000) {
    text += {static_cast<char>(0xE0 | code_point >> 12), tail(6), tail(0)};
  } else {
    text += {static_cast<char>(0xF0 | code_point >> 18), tail(12), tail(6), tail(0)};
  }
}

void Utf8Repair::Append(std::string_view bytes, std::string& text) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_.append(bytes);
    pending_.clear();
    bytes = joined;
  }
  while (!bytes.empty()) {
    const Utf8Unit unit = NextUtf8Unit(bytes);
    if (unit.kind == Utf8Unit::Kind::kIncomplete) {
      pending_ = bytes;
      return;
    }
    text += unit.kind == Utf8Unit::Kind::kCharacter ? bytes.substr(0, unit.length) : kReplacement;
    bytes.remove_prefix(unit.length);
  }
}

void Utf8Repair::Flush(std::string& text) {
  if (!pending_.empty()) text += kReplacement;
  pending_.clear();
}

}  // namespace latentd
