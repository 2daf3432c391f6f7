// The byte-level alphabet of GPT-2: a printable character for each byte, in which tokenizer.json writes tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latentd {

// The character that stands for `byte`.
uint32_t AlphabetCharacter(uint8_t byte);

// The bytes that `token` stands for; nothing when a character isn't of the alphabet.
std::optional<std::string> BytesOfAlphabet(std::string_view token);

}  // namespace latentd
