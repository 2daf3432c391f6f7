#include "engine/model/shards.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "engine/model/json_walk.h"
#include "engine/model/mapped_file.h"

namespace latentd {
namespace {

constexpr size_t kMaxIndexBytes = 100'000'000;
constexpr size_t kMaxIndexDepth = 8;

struct ShardIndex {
  std::map<std::string, std::string, std::less<>> file_of_tensor;
  std::optional<int64_t> total_bytes;
};

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

absl::Status AddToIndex(std::span<const std::string> path, const JsonValue& value, ShardIndex& index) {
  if (path.size() == 1 && path[0] == "weight_map" && value != JsonValue(JsonContainer::kObject)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("weight_map: expected an object of file names by tensor, found %s", Describe(value)));
  }
  if (path.size() == 2 && path[0] == "metadata" && path[1] == "total_size") {
    if (const int64_t* bytes = std::get_if<int64_t>(&value)) index.total_bytes = *bytes;
  }
  if (path.size() != 2 || path[0] != "weight_map") return absl::OkStatus();
  const std::string* file = std::get_if<std::string>(&value);
  if (file == nullptr || !IsPlainFileName(*file)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("tensor %s: expected the plain name of a file in this directory, "
                        "found %s",
                        Quoted(path[1]), Describe(value)));
  }
  index.file_of_tensor.emplace(path[1], *file);
  return absl::OkStatus();
}

absl::StatusOr<ShardIndex> ParseIndex(const MappedFile& file) {
  if (file.bytes().size() > kMaxIndexBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected at most %d bytes, found %d", kMaxIndexBytes, file.bytes().size()));
  }
  ShardIndex index;
  const auto visit = [&](std::span<const std::string> path, const JsonValue& value) {
    return AddToIndex(path, value, index);
  };
  if (absl::Status status = WalkJson(file.text(), kMaxIndexDepth, visit); !status.ok()) return status;
  if (index.file_of_tensor.empty()) return absl::InvalidArgumentError("expected tensors in weight_map, found none");
  return index;
}

// Every tensor of the file is in the index and belongs to this file.
absl::Status CheckAgainstIndex(const SafetensorsFile& file, const std::string& name, const ShardIndex& index) {
  for (const SafetensorsEntry& entry : file.entries()) {
    const auto found = index.file_of_tensor.find(entry.name);
    if (found != index.file_of_tensor.end() && found->second == name) continue;
    const std::string there = found == index.file_of_tensor.end() ? "no file" : Quoted(found->second);
    return absl::InvalidArgumentError(absl::StrFormat("tensor %s is in %s: expected the index to say so, found %s",
                                                      Quoted(entry.name), Quoted(name), there));
  }
  return absl::OkStatus();
}

// Every tensor of the index is in one of the files, given that those hold nothing but tensors of the index.
absl::Status CheckAgainstFiles(const ShardIndex& index, const std::vector<SafetensorsFile>& files) {
  std::set<std::string_view> stored;
  for (const SafetensorsFile& file : files) {
    for (const SafetensorsEntry& entry : file.entries()) stored.insert(entry.name);
  }
  for (const auto& [tensor, file] : index.file_of_tensor) {
    if (stored.contains(tensor)) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("tensor %s: expected in %s, found it not there", Quoted(tensor), Quoted(file)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Shards> OpenIndexed(const std::filesystem::path& directory, const ShardIndex& index) {
  std::set<std::string> names;
  for (const auto& [tensor, file] : index.file_of_tensor) names.insert(file);
  Shards shards;
  int64_t total_bytes = 0;
  for (const std::string& name : names) {
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(directory / name);
    if (!file.ok()) return file.status();
    if (absl::Status status = CheckAgainstIndex(*file, name, index); !status.ok()) return status;
    total_bytes += static_cast<int64_t>(file->buffer_bytes());
    shards.files.push_back(*std::move(file));
  }
  if (absl::Status status = CheckAgainstFiles(index, shards.files); !status.ok()) return status;
  // Converters often leave the number of what they converted from.
  if (index.total_bytes && *index.total_bytes != total_bytes) {
    shards.warnings.push_back(absl::StrFormat("the index says total_size = %d, the files hold %d bytes of tensors",
                                              *index.total_bytes, total_bytes));
  }
  return shards;
}

absl::StatusOr<Shards> OpenSingle(const std::filesystem::path& directory) {
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(directory / "model.safetensors");
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(absl::StrFormat(
        "%s: expected model.safetensors or model.safetensors.index.json, found neither", Quoted(directory.string())));
  }
  if (!file.ok()) return file.status();
  Shards shards;
  shards.files.push_back(*std::move(file));
  return shards;
}

}  // namespace

absl::StatusOr<Shards> OpenShards(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "model.safetensors.index.json";
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) return OpenSingle(directory);
  if (!file.ok()) return file.status();
  const absl::StatusOr<ShardIndex> index = ParseIndex(*file);
  if (!index.ok()) return InFile(path, index.status());
  return OpenIndexed(directory, *index);
}

}  // namespace latentd
