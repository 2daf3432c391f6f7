#include "engine/text/tokenizer/byte_alphabet.h"

#include <array>

#include "base/utf8.h"

namespace latentd {
namespace {

constexpr bool StandsForItself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<uint16_t, 256> kCharacters = [] {
  std::array<uint16_t, 256> characters{};
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) characters[byte] = StandsForItself(byte) ? byte : next++;
  return characters;
}();

constexpr int kNumCharacters = 0x100 + 68;  // one behind the last character

constexpr std::array<int16_t, kNumCharacters> kBytes = [] {
  std::array<int16_t, kNumCharacters> bytes{};
  for (int16_t& byte : bytes) byte = -1;
  for (int16_t byte = 0; byte < 256; ++byte) bytes[kCharacters[static_cast<size_t>(byte)]] = byte;
  return bytes;
}();

}  // namespace

uint32_t AlphabetCharacter(uint8_t byte) { return kCharacters[byte]; }

std::optional<std::string> BytesOfAlphabet(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const Utf8Unit unit = NextUtf8Unit(token);
    if (unit.code_point >= kBytes.size() || kBytes[unit.code_point] < 0) return std::nullopt;
    bytes += static_cast<char>(kBytes[unit.code_point]);
    token.remove_prefix(unit.length);
  }
  return bytes;
}

}  // namespace latentd
