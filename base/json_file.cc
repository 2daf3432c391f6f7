#include "base/json_file.h"

#include <absl/container/flat_hash_set.h>
#include <absl/strings/str_format.h>

#include "base/file.h"
#include "base/json_reader.h"
#include "base/quoting.h"
#include "base/utf8.h"

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

// The first key that an object has twice. Python takes the last of them, others the first: the file means two things.
// Not of a vocabulary, which is large and checked where it is read.
std::optional<std::string> FindDuplicateKey(JsonFile::Element element) {
  JsonFile::Array array;
  JsonFile::Object object;
  if (element.get(array) == simdjson::SUCCESS) {
    for (const JsonFile::Element each : array) {
      if (each.is_string() || each.is_number()) continue;
      if (auto key = FindDuplicateKey(each)) return key;
    }
  } else if (element.get(object) == simdjson::SUCCESS) {
    absl::flat_hash_set<absl::string_view> keys;
    for (const auto& [key, value] : object) {
      if (!keys.insert(absl::string_view(key.data(), key.size())).second) return std::string(key);
      if (key == "vocab") continue;
      if (auto inner = FindDuplicateKey(value)) return inner;
    }
  }
  return std::nullopt;
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
  if (error != simdjson::SUCCESS) {
    // "No limit" is written as 10^30, or as Infinity, in model_max_length.
    error = parser_.parse(WithPythonsNumbersAsJson(*text)).get(root_);
  }
  if (error != simdjson::SUCCESS && EndsEarly(*text)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected JSON, found %d bytes that end in the middle of it; fetch the file again",
                        path_.string(), text->size()));
  }
  if (error != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected JSON: %s", path_.string(), simdjson::error_message(error)));
  }
  if (const std::optional<std::string> key = FindDuplicateKey(root_)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected each JSON key once, found %s twice; remove one of them", path_.string(), QuotedExcerpt(*key)));
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
