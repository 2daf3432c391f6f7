// The fields of a small JSON file by dotted path ("rope_scaling.factor", "eos_token_id.0"), read with type and range.
// The first wrong one is remembered: read everything, then ask status() once. Null counts as absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "base/json_walk.h"

namespace latentd {

template <class T>
struct Range {
  T least;
  T most;
};

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

}  // namespace latentd
