#include "base/json_reader.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include <absl/container/flat_hash_set.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/fingerprint.h"
#include "base/mapped_file.h"
#include "base/number_text.h"
#include "base/quoting.h"

namespace latentd {

// ---------------------------------------------------------------------------------------------------------- as a text

namespace {

constexpr size_t kMaxDigits = 18;  // always fit into 64 bits
constexpr std::string_view kBeyondAnyRange = "1e308";

bool IsOneOf(std::string_view characters, char character) {
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
    const bool is_integer =
        (at == 0 || !IsOneOf(".eE+", json[at - 1])) && (digits_end == json.size() || !IsOneOf(".eE", json[digits_end]));
    out.append(json.substr(at, digits_end - at)).append(is_integer && digits_end - at > kMaxDigits ? "e0" : "");
    return digits_end - at;
  });
  return out;
}

bool EndsEarly(std::string_view json) {
  size_t num_open = 0;
  bool in_string = false;
  ForEachPart(json, [&](size_t at, size_t size) -> size_t {
    if (IsOneOf("{[", json[at])) ++num_open;
    if (IsOneOf("}]", json[at]) && num_open > 0) --num_open;
    // Its last quote may be one that a backslash precedes.
    size_t num_backslashes = 0;
    while (num_backslashes + 2 < size && json[at + size - 2 - num_backslashes] == '\\') ++num_backslashes;
    in_string = json[at] == '"' && (size == 1 || json[at + size - 1] != '"' || num_backslashes % 2 == 1);
    return size;
  });
  return num_open > 0 || in_string;
}

// ------------------------------------------------------------------------------------------------------ value by value

namespace {

// Receives nlohmann's events; a false answer stops the parser.
class Walker {
 public:
  Walker(size_t max_depth, const JsonVisitor& visit) : max_depth_(max_depth), visit_(visit) {}

  const absl::Status& status() const { return status_; }
  std::optional<size_t> parse_error() const { return parse_error_; }

  bool null() { return Emit(std::monostate()); }
  bool boolean(bool value) { return Emit(value); }
  bool number_integer(int64_t value) { return Emit(value); }
  bool number_unsigned(uint64_t value) {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return Emit(static_cast<double>(value));
    return Emit(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string&) { return Emit(value); }
  bool string(std::string& value) { return Emit(std::move(value)); }
  template <class Binary>
  bool binary(Binary&) {
    return false;
  }

  bool start_object(size_t) { return Open(JsonContainer::kObject); }
  bool start_array(size_t) { return Open(JsonContainer::kArray); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(std::string& name) {
    if (!levels_.back().keys.insert(name).second) {
      return Fail(absl::StrFormat("expected each JSON key once, found %s twice", Quoted(name)));
    }
    path_.back() = std::move(name);
    return true;
  }

  template <class Exception>
  bool parse_error(size_t position, const std::string&, const Exception&) {
    parse_error_ = position;
    return false;
  }

 private:
  struct Level {
    JsonContainer kind;
    uint64_t next_index = 0;
    absl::flat_hash_set<std::string> keys = {};
  };

  bool Emit(JsonValue value) {
    if (!levels_.empty() && levels_.back().kind == JsonContainer::kArray) {
      path_.back() = std::to_string(levels_.back().next_index++);
    }
    status_ = visit_(path_, value);
    return status_.ok();
  }

  bool Open(JsonContainer kind) {
    if (levels_.size() >= max_depth_) {
      return Fail(absl::StrFormat("expected JSON nested at most %d deep, found more", max_depth_));
    }
    if (!Emit(kind)) return false;
    levels_.push_back({.kind = kind});
    path_.emplace_back();
    return true;
  }

  bool Close() {
    levels_.pop_back();
    path_.pop_back();
    return true;
  }

  bool Fail(const std::string& message) {
    status_ = absl::InvalidArgumentError(message);
    return false;
  }

  const size_t max_depth_;
  const JsonVisitor& visit_;
  std::vector<Level> levels_;
  std::vector<std::string> path_;
  absl::Status status_;
  std::optional<size_t> parse_error_;
};

struct Describer {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  // Told apart from an integer of the same size: where one was expected, 50.0 is none.
  std::string operator()(double value) const {
    const std::string text = NumberText(value);
    return text.find_first_not_of("-0123456789") == text.npos ? text + ".0" : text;
  }
  std::string operator()(const std::string& value) const { return Quoted(value); }
  std::string operator()(JsonContainer kind) const { return kind == JsonContainer::kArray ? "a list" : "an object"; }
};

}  // namespace

std::string Describe(const JsonValue& value) { return std::visit(Describer(), value); }

absl::Status WalkJson(std::string_view text, size_t max_depth, const JsonVisitor& visit) {
  // nlohmann takes a NUL for the end of the text and steps over a byte order mark.
  if (const size_t nul = text.find('\0'); nul != text.npos) {
    return absl::InvalidArgumentError(absl::StrFormat("expected valid JSON, found a NUL at byte %d of it", nul + 1));
  }
  if (text.starts_with("\xEF\xBB\xBF")) {
    return absl::InvalidArgumentError("expected valid JSON, found a byte order mark before it");
  }
  Walker walker(max_depth, visit);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &walker) && walker.status().ok()) {
    if (EndsEarly(text)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "expected valid JSON, found %d bytes that end in the middle of it; fetch the file again", text.size()));
    }
    return absl::InvalidArgumentError(
        absl::StrFormat("expected valid JSON, found an error at byte %d of it", walker.parse_error().value_or(0)));
  }
  return walker.status();
}

// ------------------------------------------------------------------------------------------------------ field by field

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
