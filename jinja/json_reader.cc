#include "jinja/json_reader.h"

#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "jinja/runtime.h"

namespace latentd::jinja {
namespace {

// Receives the events of nlohmann's parser, which neither recurses nor throws when it reports to a handler.
class ValueBuilder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  bool null() { return Add(Value::None()); }
  bool boolean(bool value) { return Add(Value::Bool(value)); }
  bool number_integer(number_integer_t value) { return Add(Value::Integer(value)); }
  bool number_unsigned(number_unsigned_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Add(Value::BigInteger(absl::StrCat(value)));
    return Add(Value::Integer(static_cast<int64_t>(value)));
  }
  // Integers beyond 64 bits arrive here as well; their digits are kept.
  bool number_float(number_float_t value, const string_t& written) {
    if (written.find_first_of(".eE") == string_t::npos) return Add(Value::BigInteger(written));
    return Add(Value::Float(value));
  }
  bool string(string_t& value) { return Add(Value::Text(std::move(value))); }
  bool binary(binary_t&) { return false; }

  bool start_array(size_t) { return Open(false); }
  bool start_object(size_t) { return Open(true); }
  bool key(string_t& value) {
    open_.back().key = std::move(value);
    return true;
  }
  bool end_array() {
    Value list = Value::MakeList(std::move(open_.back().items));
    open_.pop_back();
    return Add(std::move(list));
  }
  bool end_object() {
    Value object = Value::MakeObject(std::move(open_.back().object));
    open_.pop_back();
    return Add(std::move(object));
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    error_ = absl::StrCat("expected JSON, found something else at byte ", position);
    return false;
  }

  const std::string& error() const { return error_; }
  Value Take() { return std::move(root_); }

 private:
  struct Level {
    bool is_object = false;
    std::vector<Value> items;
    Object object;
    std::string key;
  };

  bool Open(bool is_object) {
    if (open_.size() == static_cast<size_t>(kMaxValueDepth)) {
      error_ = absl::StrCat("expected JSON of at most ", kMaxValueDepth, " levels, found more");
      return false;
    }
    open_.emplace_back().is_object = is_object;
    return true;
  }

  bool Add(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().object.Set(open_.back().key, std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Level> open_;
  Value root_;
  std::string error_;
};

}  // namespace

absl::StatusOr<Value> ParseJson(std::string_view text) {
  ValueBuilder builder;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(builder.error().empty() ? "expected JSON" : builder.error());
  }
  return builder.Take();
}

}  // namespace latentd::jinja
