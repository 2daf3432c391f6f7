// A strict walk over a JSON text from an untrusted file: duplicate keys, deep nesting, invalid UTF-8 and anything after
// the end are errors, and no document is built in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include <absl/status/status.h>

namespace latentd {

enum class JsonContainer : uint8_t { kObject, kArray };
// Null, a boolean, an integer, any other number, a string, or the opening of an object or array.
using JsonValue = std::variant<std::monostate, bool, int64_t, double, std::string, JsonContainer>;

// The description of a value in an error message: "12", "'yarn'", "null", "a list".
std::string Describe(const JsonValue& value);

// Called for every value in the order of the text, before what a container holds. `path` has a key, or an array's index
// in decimal, per level; it is empty for the whole text. An error ends the walk and is returned.
using JsonVisitor = std::function<absl::Status(std::span<const std::string> path, const JsonValue& value)>;

absl::Status WalkJson(std::string_view text, size_t max_depth, const JsonVisitor& visit);

}  // namespace latentd
