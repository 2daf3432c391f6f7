// A safetensors file. What is accepted obeys docs/spec/deepseek.md 2.3 item 1, and another JSON parser reads the same
// in its header.
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include <simdjson.h>

#include "base/check.h"
#include "engine/model/checkpoint/safetensors.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

constexpr uint64_t kLengthBytes = 8;

const std::map<std::string_view, uint64_t> kItemBytes = {
    {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I16", 2}, {"U16", 2},
    {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4},     {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};

void CheckEntries(std::span<const SafetensorsEntry> entries, uint64_t buffer_bytes) {
  std::set<std::string_view> names;
  uint64_t covered = 0;
  for (const SafetensorsEntry& entry : entries) {
    CHECK(names.insert(entry.name).second);
    CHECK_EQ(entry.begin, covered);
    CHECK_LE(entry.begin, entry.end);
    unsigned __int128 size = kItemBytes.at(entry.dtype);
    for (const int64_t dimension : entry.shape) {
      CHECK_GE(dimension, 0);
      size *= static_cast<uint64_t>(dimension);
      CHECK(size <= std::numeric_limits<uint64_t>::max());
    }
    CHECK_EQ(static_cast<uint64_t>(size), entry.end - entry.begin);
    covered = entry.end;
  }
  CHECK_EQ(covered, buffer_bytes);
}

std::vector<int64_t> Integers(simdjson::dom::object object, std::string_view key) {
  std::vector<int64_t> integers;
  for (const simdjson::dom::element item : simdjson::dom::array(object.at_key(key))) {
    integers.push_back(int64_t{item});
  }
  return integers;
}

void CheckAgainstJson(std::span<const SafetensorsEntry> entries, std::string_view json) {
  std::map<std::string_view, const SafetensorsEntry*> by_name;
  for (const SafetensorsEntry& entry : entries) by_name[entry.name] = &entry;
  simdjson::dom::parser parser;
  simdjson::dom::object header;
  CHECK_EQ(parser.parse(json.data(), json.size()).get(header), simdjson::SUCCESS);
  size_t num_tensors = 0;
  for (const auto& [name, value] : header) {
    if (name == "__metadata__") continue;
    const SafetensorsEntry& entry = *by_name.at(name);
    const simdjson::dom::object fields = value;
    CHECK_EQ(std::string_view(fields.at_key("dtype")), entry.dtype);
    CHECK(Integers(fields, "shape") == entry.shape);
    CHECK(Integers(fields, "data_offsets") ==
          (std::vector{static_cast<int64_t>(entry.begin), static_cast<int64_t>(entry.end)}));
    ++num_tensors;
  }
  CHECK_EQ(num_tensors, entries.size());
}

bool CheckHeader(std::string_view json, uint64_t buffer_bytes) {
  const auto entries = ParseSafetensorsHeader(json, buffer_bytes);
  if (!entries.ok()) {
    CheckRefusal(entries.status());
    return false;
  }
  CheckEntries(*entries, buffer_bytes);
  CheckAgainstJson(*entries, json);
  return true;
}

}  // namespace

void FuzzSafetensors(std::string_view input) {
  const std::filesystem::path path = InputDirectory().path() / "model.safetensors";
  WriteFile(path, input);
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) CheckRefusal(file.status());
  if (input.size() < kLengthBytes) return CHECK(!file.ok());

  uint64_t length = 0;
  std::memcpy(&length, input.data(), kLengthBytes);
  const std::string_view rest = input.substr(kLengthBytes);
  // Whatever edits the header breaks its length: the same number is also tried as the size of a buffer behind it.
  CheckHeader(rest, length);
  const bool has_header = length <= rest.size() && rest.substr(0, length).starts_with('{');
  CHECK_EQ(file.ok(), has_header && CheckHeader(rest.substr(0, length), rest.size() - length));
  if (!file.ok()) return;
  std::string bytes;
  for (const SafetensorsEntry& entry : file->entries()) {
    for (const std::byte byte : file->BytesOf(entry)) bytes += static_cast<char>(byte);
  }
  CHECK(bytes == rest.substr(length));
}

}  // namespace latentd
