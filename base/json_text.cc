#include "base/json_text.h"

#include <algorithm>
#include <cstddef>

namespace latentd {
namespace {

constexpr size_t kMaxDigits = 18;  // always fit into 64 bits
constexpr std::string_view kBeyondAnyRange = "1e308";

bool Contains(std::string_view characters, char character) {
  return characters.find(character) != std::string_view::npos;
}

// The length of NaN or Infinity, where one of them stands.
size_t NotANumberAt(std::string_view rest) {
  for (const std::string_view name : {"NaN", "Infinity"}) {
    if (rest.starts_with(name)) return name.size();
  }
  return 0;
}

// Calls `visit` with each part of the text: a whole string, or one character outside of strings. A string that does not
// end is the last part.
template <class Visit>
void ForEachPart(std::string_view json, const Visit& visit) {
  for (size_t at = 0; at < json.size();) {
    size_t end = at + 1;
    if (json[at] == '"') {
      while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, json.size());
    }
    at += std::max(end - at, visit(at, end - at));
  }
}

}  // namespace

std::string WithPythonsNumbersAsJson(std::string_view json) {
  std::string out;
  ForEachPart(json, [&](size_t at, size_t size) -> size_t {
    if (const size_t length = NotANumberAt(json.substr(at)); length > 0) {
      out.append(kBeyondAnyRange);
      return length;
    }
    const size_t digits_end = std::min(json.find_first_not_of("0123456789", at), json.size());
    if (digits_end == at) {
      out.append(json.substr(at, size));
      return size;
    }
    const bool is_integer = (at == 0 || !Contains(".eE+", json[at - 1])) &&
                            (digits_end == json.size() || !Contains(".eE", json[digits_end]));
    out.append(json.substr(at, digits_end - at)).append(is_integer && digits_end - at > kMaxDigits ? "e0" : "");
    return digits_end - at;
  });
  return out;
}

bool EndsEarly(std::string_view json) {
  size_t num_open = 0;
  bool in_string = false;
  ForEachPart(json, [&](size_t at, size_t size) -> size_t {
    if (Contains("{[", json[at])) ++num_open;
    if (Contains("}]", json[at]) && num_open > 0) --num_open;
    // Its last quote may be one that a backslash precedes.
    size_t num_backslashes = 0;
    while (num_backslashes + 2 < size && json[at + size - 2 - num_backslashes] == '\\') ++num_backslashes;
    in_string = json[at] == '"' && (size == 1 || json[at + size - 1] != '"' || num_backslashes % 2 == 1);
    return size;
  });
  return num_open > 0 || in_string;
}

}  // namespace latentd
