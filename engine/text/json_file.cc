#include "engine/text/json_file.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "engine/text/quoted_excerpt.h"
#include "engine/text/read_file.h"
#include "engine/text/utf8.h"

namespace latentd {
namespace {

constexpr size_t kMaxFileBytes = 128 << 20;  // the largest published tokenizer.json has 34 MB

std::string Describe(JsonFile::Element element) {
  using Type = simdjson::dom::element_type;
  std::string_view text;
  switch (element.type()) {
    case Type::ARRAY:
      return "an array";
    case Type::OBJECT:
      return "an object";
    case Type::STRING:
      return element.get(text) == simdjson::SUCCESS ? QuotedExcerpt(text) : "a string";
    case Type::BOOL:
      return "a boolean";
    case Type::NULL_VALUE:
      return "null";
    default:
      break;
  }
  int64_t number = 0;
  return element.get(number) == simdjson::SUCCESS ? absl::StrFormat("%d", number) : "a number";
}

// simdjson refuses integers beyond 64 bits, which are valid JSON: "no limit" is written as 10^30 in model_max_length.
// With an exponent they are doubles.
std::string WithWideIntegersAsDoubles(std::string_view json) {
  constexpr size_t kMaxDigits = 18;  // always fit
  std::string out;
  bool in_string = false;
  for (size_t at = 0; at < json.size();) {
    const size_t digits_end = std::min(json.find_first_not_of("0123456789", at), json.size());
    const size_t num_digits = in_string ? 0 : digits_end - at;
    if (num_digits > 0) {
      const bool is_integer =
          (at == 0 || std::string_view(".eE+").find(json[at - 1]) == std::string_view::npos) &&
          (digits_end == json.size() || std::string_view(".eE").find(json[digits_end]) == std::string_view::npos);
      out.append(json.substr(at, num_digits)).append(is_integer && num_digits > kMaxDigits ? "e0" : "");
      at = digits_end;
      continue;
    }
    if (json[at] == '"') in_string = !in_string;
    const size_t num_bytes = in_string && json[at] == '\\' ? 2 : 1;
    out.append(json.substr(at, num_bytes));
    at += num_bytes;
  }
  return out;
}

}  // namespace

std::string MemberName(std::string_view where, std::string_view key) {
  return where.empty() ? std::string(key) : absl::StrFormat("%s.%s", where, key);
}

absl::StatusOr<std::unique_ptr<JsonFile>> JsonFile::Load(const std::filesystem::path& path) {
  std::unique_ptr<JsonFile> file(new JsonFile(path));
  const absl::Status status = file->Parse();
  if (!status.ok()) return status;
  return file;
}

absl::Status JsonFile::Parse() {
  const absl::StatusOr<std::string> text = ReadFile(path_, kMaxFileBytes);
  if (!text.ok()) return text.status();
  if (text->empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected JSON, found an empty file; fetch it again", path_.string()));
  }
  simdjson::error_code error = parser_.parse(text->data(), text->size()).get(root_);
  if (error == simdjson::NUMBER_ERROR) {
    error = parser_.parse(WithWideIntegersAsDoubles(*text)).get(root_);
  }
  if (error != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected JSON: %s", path_.string(), simdjson::error_message(error)));
  }
  return absl::OkStatus();
}

void JsonFile::Refuse(std::string_view where, std::string_view expected, std::string_view found) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(
      absl::StrFormat("%s: %s: expected %s, found %s", path_.string(), where, expected, found));
}

void JsonFile::Refuse(std::string_view where, std::string_view expected, Element found) {
  Refuse(where, expected, Describe(found));
}

std::optional<JsonFile::Object> JsonFile::AsObject(Element element, std::string_view where) {
  Object object;
  if (element.get(object) == simdjson::SUCCESS) return object;
  Refuse(where, "an object", element);
  return std::nullopt;
}

std::optional<JsonFile::Array> JsonFile::AsArray(Element element, std::string_view where) {
  Array array;
  if (element.get(array) == simdjson::SUCCESS) return array;
  Refuse(where, "an array", element);
  return std::nullopt;
}

std::string_view JsonFile::AsString(Element element, std::string_view where) {
  std::string_view text;
  if (element.get(text) != simdjson::SUCCESS) {
    Refuse(where, "a string", element);
    return {};
  }
  // An escaped lone surrogate is valid JSON and no text.
  if (FindInvalidUtf8(text)) {
    Refuse(where, "valid Unicode", QuotedExcerpt(text));
    return {};
  }
  return text;
}

int32_t JsonFile::AsInteger(Element element, std::string_view where, int32_t limit) {
  int64_t value = -1;
  if (element.get(value) == simdjson::SUCCESS && value >= 0 && value < limit) return static_cast<int32_t>(value);
  Refuse(where, absl::StrFormat("an integer from 0 to %d", limit - 1), element);
  return 0;
}

std::optional<JsonFile::Element> JsonFile::Find(Object object, std::string_view key) const {
  Element element;
  if (object.at_key(key).get(element) != simdjson::SUCCESS || element.is_null()) return std::nullopt;
  return element;
}

std::optional<JsonFile::Element> JsonFile::Require(Object object, std::string_view key, std::string_view where) {
  std::optional<Element> element = Find(object, key);
  if (!element) Refuse(MemberName(where, key), "a value", "none");
  return element;
}

std::string_view JsonFile::RequireString(Object object, std::string_view key, std::string_view where) {
  const std::optional<Element> element = Require(object, key, where);
  return element ? AsString(*element, MemberName(where, key)) : std::string_view();
}

bool JsonFile::Flag(Object object, std::string_view key, bool absent, std::string_view where) {
  const std::optional<Element> element = Find(object, key);
  if (!element) return absent;
  bool value = absent;
  if (element->get(value) != simdjson::SUCCESS) Refuse(MemberName(where, key), "true or false", *element);
  return value;
}

}  // namespace latentd
