// JSON of the small files of a model, read strictly and with nothing built in memory that a hostile file could make
// large. JsonFile (json_file.h) is the reader of vocabularies, on another library because it is faster there: 18 MB of
// tokenizer.json take simdjson 14 to 24 ms, and nlohmann 99 to 170 ms as a document. This one tells the byte at which a
// text goes wrong, which simdjson does not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace latentd {

// ------------------------------------------------------------------------------------------------------ value by value

enum class JsonContainer : uint8_t { kObject, kArray };
// Null, a boolean, an integer, any other number, a string, or the opening of an object or array.
using JsonValue = std::variant<std::monostate, bool, int64_t, double, std::string, JsonContainer>;

// The description of a value in an error message: "12", "'yarn'", "null", "a list".
std::string Describe(const JsonValue& value);

// Called for every value in the order of the text, before what a container holds. `path` has a key, or an array's index
// in decimal, per level; it is empty for the whole text. An error ends the walk and is returned.
using JsonVisitor = std::function<absl::Status(std::span<const std::string> path, const JsonValue& value)>;

// For a text from an untrusted file: duplicate keys, deep nesting, invalid UTF-8 and anything after the end are errors.
absl::Status WalkJson(std::string_view text, size_t max_depth, const JsonVisitor& visit);

// ------------------------------------------------------------------------------------------------------ field by field

template <class T>
struct Range {
  T least;
  T most;
};

// The fields of a small JSON file by dotted path ("rope_scaling.factor", "eos_token_id.0"), read with type and range.
// The first wrong one is remembered: read everything, then ask status() once. Null counts as absent.
class JsonFields {
 public:
  static absl::StatusOr<JsonFields> Read(const std::filesystem::path& file);

  bool Has(const std::string& key) const { return Find(key) != nullptr; }
  // Whether the file has the key at all, be it with null.
  bool Says(const std::string& key) const { return values_.contains(key); }
  // Absent and without a fallback, of another type or outside the range: an error, and a value within the range.
  int Int(const std::string& key, Range<int> range, std::optional<int> fallback = std::nullopt);
  double Number(const std::string& key, Range<double> range, std::optional<double> fallback = std::nullopt);
  bool Bool(const std::string& key, bool fallback);
  std::string String(const std::string& key, std::optional<std::string> fallback = std::nullopt);
  // One integer or a list of them; empty where absent.
  std::vector<int> Ints(const std::string& key, Range<int> range);
  // A list of strings; empty where absent.
  std::vector<std::string> Strings(const std::string& key);

  // What the object of that path holds, nulls included, in the file's order; the path "" is the whole file's.
  const std::vector<std::string>& Members(const std::string& key) const;
  // Null where absent.
  JsonValue Value(const std::string& key) const;

  // Remembers "key: expected <expected>, found <what the file says>" unless something came first.
  void Refuse(const std::string& key, std::string_view expected);
  void Require(bool condition, const std::string& key, std::string_view expected) {
    if (!condition) Refuse(key, expected);
  }

  const absl::Status& status() const { return status_; }
  uint64_t digest() const { return digest_; }  // of the file's bytes

 private:
  explicit JsonFields(std::filesystem::path file) : file_(std::move(file)) {}
  const JsonValue* Find(const std::string& key) const;

  std::filesystem::path file_;
  std::map<std::string, JsonValue> values_;
  std::map<std::string, std::vector<std::string>> members_;  // of objects, by path
  uint64_t digest_ = 0;
  absl::Status status_;
};

// ---------------------------------------------------------------------------------------------------------- as a text

// Python writes NaN, Infinity and integers of any length, which readers of JSON refuse. Here they are numbers with an
// exponent: beyond any range (1e308) the first two.
std::string WithPythonsNumbersAsJson(std::string_view json);

// Whether a string, an object or an array is still open at the end.
bool EndsEarly(std::string_view json);

}  // namespace latentd
