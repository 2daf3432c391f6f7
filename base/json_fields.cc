#include "base/json_fields.h"

#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/fingerprint.h"
#include "base/json_text.h"
#include "base/mapped_file.h"
#include "base/number_text.h"

namespace latentd {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;  // published ones have about 2 kB
constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxPathBytes = 256;  // the longest that is asked for has 48

// Whether the path is longer than any that is asked for. Keeping those would cost the product of a long key's size and
// the number of values under it.
bool IsTooLong(std::span<const std::string> path) {
  size_t num_bytes = path.size();
  for (const std::string& key : path) num_bytes += key.size();
  return num_bytes > kMaxPathBytes;
}

std::string Between(int least, int most) { return absl::StrFormat("an integer from %d to %d", least, most); }
std::string Between(double least, double most) {
  return absl::StrCat("a number from ", NumberText(least), " to ", NumberText(most));
}

// Whether NaN or Infinity may stand in it as a number.
bool IsOfPython(std::string_view json) { return json.find("NaN") != json.npos || json.find("Infinity") != json.npos; }

}  // namespace

absl::StatusOr<JsonFields> JsonFields::Read(const std::filesystem::path& file) {
  const absl::StatusOr<MappedFile> mapped = MappedFile::Open(file);
  if (!mapped.ok()) return mapped.status();
  if (mapped->bytes().size() > kMaxFileBytes) {
    return InFile(file, absl::InvalidArgumentError(absl::StrFormat("expected at most %d bytes, found %d", kMaxFileBytes,
                                                                   mapped->bytes().size())));
  }
  JsonFields fields(file);
  fields.digest_ = Fingerprint(mapped->text());
  const auto visit = [&](std::span<const std::string> path, const JsonValue& value) {
    if (IsTooLong(path)) return absl::OkStatus();
    const std::string key = absl::StrJoin(path, ".");
    if (path.empty() && value != JsonValue(JsonContainer::kObject)) {
      return absl::InvalidArgumentError(absl::StrCat("expected an object, found ", Describe(value)));
    }
    if (!fields.values_.emplace(key, value).second) {
      return absl::InvalidArgumentError(absl::StrFormat("expected each JSON key once, found %s twice", Quoted(key)));
    }
    if (!path.empty()) fields.members_[absl::StrJoin(path.first(path.size() - 1), ".")].push_back(path.back());
    return absl::OkStatus();
  };
  absl::Status status = WalkJson(mapped->text(), kMaxDepth, visit);
  if (!status.ok() && IsOfPython(mapped->text())) {
    fields.values_.clear();
    fields.members_.clear();
    status = WalkJson(WithPythonsNumbersAsJson(mapped->text()), kMaxDepth, visit);
  }
  if (!status.ok()) return InFile(file, status);
  return fields;
}

const JsonValue* JsonFields::Find(const std::string& key) const {
  const auto found = values_.find(key);
  if (found == values_.end() || std::holds_alternative<std::monostate>(found->second)) return nullptr;
  return &found->second;
}

const std::vector<std::string>& JsonFields::Members(const std::string& key) const {
  static const std::vector<std::string> kNone;
  const auto found = members_.find(key);
  return found == members_.end() ? kNone : found->second;
}

JsonValue JsonFields::Value(const std::string& key) const {
  const JsonValue* value = Find(key);
  return value == nullptr ? JsonValue() : *value;
}

void JsonFields::Refuse(const std::string& key, std::string_view expected) {
  if (!status_.ok()) return;
  const JsonValue* value = Find(key);
  status_ = InFile(file_, absl::InvalidArgumentError(absl::StrFormat("%s: expected %s, found %s", key, expected,
                                                                     value == nullptr ? "nothing" : Describe(*value))));
}

int JsonFields::Int(const std::string& key, Range<int> range, std::optional<int> fallback) {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const int64_t* number = value == nullptr ? nullptr : std::get_if<int64_t>(value);
  if (number != nullptr && *number >= range.least && *number <= range.most) return static_cast<int>(*number);
  Refuse(key, Between(range.least, range.most));
  return range.least;
}

double JsonFields::Number(const std::string& key, Range<double> range, std::optional<double> fallback) {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const int64_t* integer = value == nullptr ? nullptr : std::get_if<int64_t>(value);
  const double* real = value == nullptr ? nullptr : std::get_if<double>(value);
  const double number = integer != nullptr ? static_cast<double>(*integer)
                        : real != nullptr  ? *real
                                           : range.least - 1.0;
  if (number >= range.least && number <= range.most) return number;
  Refuse(key, Between(range.least, range.most));
  return range.least;
}

bool JsonFields::Bool(const std::string& key, bool fallback) {
  const JsonValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (const bool* truth = std::get_if<bool>(value)) return *truth;
  Refuse(key, "true or false");
  return fallback;
}

std::string JsonFields::String(const std::string& key, std::optional<std::string> fallback) {
  const JsonValue* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const std::string* text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  if (text != nullptr) return *text;
  Refuse(key, "a string");
  return {};
}

std::vector<int> JsonFields::Ints(const std::string& key, Range<int> range) {
  const JsonValue* value = Find(key);
  if (value == nullptr) return {};
  if (*value != JsonValue(JsonContainer::kArray)) return {Int(key, range)};
  std::vector<int> numbers;
  for (int i = 0; values_.contains(absl::StrCat(key, ".", i)); ++i) {
    numbers.push_back(Int(absl::StrCat(key, ".", i), range));
  }
  return numbers;
}

std::vector<std::string> JsonFields::Strings(const std::string& key) {
  const JsonValue* value = Find(key);
  if (value == nullptr) return {};
  if (*value != JsonValue(JsonContainer::kArray)) Refuse(key, "a list of strings");
  std::vector<std::string> texts;
  for (int i = 0; values_.contains(absl::StrCat(key, ".", i)); ++i) {
    texts.push_back(String(absl::StrCat(key, ".", i)));
  }
  return texts;
}

}  // namespace latentd
