// UTF-8 as Unicode's chapter 3 defines it: reading, writing, and repairing byte streams that are not valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latentd {

struct Utf8Unit {
  enum class Kind : uint8_t {
    kCharacter,
    kInvalid,     // a maximal bad subpart: one U+FFFD stands for it
    kIncomplete,  // the bytes end inside of a character
  };
  Kind kind = Kind::kInvalid;
  uint8_t length = 1;       // bytes that belong to the unit
  uint32_t code_point = 0;  // of a character
};

// The first unit of `bytes`, which must not be empty.
Utf8Unit NextUtf8Unit(std::string_view bytes);

// Where the first byte that is not valid UTF-8 stands.
std::optional<size_t> FindInvalidUtf8(std::string_view text);

void AppendUtf8(uint32_t code_point, std::string& text);

// A stream of bytes in arbitrary chunks -> valid UTF-8. Holds back at most the 3 bytes of an unfinished character.
class Utf8Repair {
 public:
  // Appends to `text` all that later bytes can't change.
  void Append(std::string_view bytes, std::string& text);
  // The stream has ended: what is unfinished is bad.
  void Flush(std::string& text);

 private:
  std::string pending_;
};

}  // namespace latentd
