// Text that knows which of its bytes came with a request; the others are the template's own. Control tokens may stand
// in the one and must not in the other, whatever a template does with the words it is given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace latentd::jinja {

// kJson: JSON as it was written, or what should have been some: tojson writes it as it stands. kMarkup: what the
// filters safe and escape make of a text, which Python computes with in another way than with a string.
enum class TextKind : uint8_t { kPlain, kJson, kMarkup };

struct TracedText {
  struct Range {
    size_t begin = 0;
    size_t end = 0;
    bool operator==(const Range&) const = default;
  };

  std::string text;
  std::vector<Range> from_request;   // in order, none empty, none touching the next
  TextKind kind = TextKind::kPlain;  // of the whole: appended text brings none

  static TracedText FromRequest(std::string text);

  // What the template wrote.
  void Append(std::string_view own) { text += own; }
  void Append(const TracedText& piece) { AppendPart(piece, 0, piece.text.size()); }
  void AppendPart(const TracedText& source, size_t begin, size_t end);
};

}  // namespace latentd::jinja
