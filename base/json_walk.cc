#include "base/json_walk.h"

#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_set.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "base/mapped_file.h"
#include "base/number_text.h"

namespace latentd {
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

}  // namespace latentd
