#include "engine/model/checkpoint/shards.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "base/file.h"
#include "base/json_reader.h"
#include "base/mapped_file.h"
#include "base/quoting.h"
#include "engine/model/checkpoint/model_files.h"

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

// Opens files one after the other and keeps account of which tensors they have.
class ShardOpener {
 public:
  ShardOpener(const std::filesystem::path& directory, const ShardIndex* index) : directory_(directory), index_(index) {}

  absl::Status Open(const std::string& name) {
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(directory_ / name);
    if (absl::IsNotFound(file.status()) && index_ != nullptr) return absl::OkStatus();  // perhaps it is not needed
    if (!file.ok()) return file.status();
    total_bytes_ += static_cast<int64_t>(file->buffer_bytes());
    const size_t place = shards_.files.size();
    names_.push_back(name);
    shards_.files.push_back(*std::move(file));
    for (const SafetensorsEntry& entry : shards_.files.back().entries()) {
      const auto [found, is_new] = file_of_tensor_.emplace(entry.name, place);
      if (is_new) continue;
      std::vector<size_t>& places = places_of_copies_[entry.name];
      if (places.empty()) places.push_back(found->second);
      places.push_back(place);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Shards> Finish() && {
    for (const auto& [tensor, places] : places_of_copies_) {
      if (absl::Status status = ChooseCopy(tensor, places); !status.ok()) return status;
    }
    if (index_ != nullptr) HoldAgainstIndex();
    return std::move(shards_);
  }

 private:
  absl::Status ChooseCopy(const std::string& tensor, const std::vector<size_t>& places) {
    const std::string indexed = FileInIndex(tensor);
    for (const size_t place : places) {
      if (names_[place] == indexed) shards_.file_of_copies[tensor] = place;
    }
    if (shards_.file_of_copies.contains(tensor)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrFormat(
        "tensor %s is in %s and in %s: expected the index to say which counts, found %s", Quoted(tensor),
        Quoted(names_[places[0]]), Quoted(names_[places[1]]), indexed.empty() ? "nothing" : Quoted(indexed)));
  }

  // Empty: in none.
  std::string FileInIndex(const std::string& tensor) const {
    if (index_ == nullptr) return {};
    const auto found = index_->file_of_tensor.find(tensor);
    return found == index_->file_of_tensor.end() ? std::string() : found->second;
  }

  void HoldAgainstIndex() {
    int64_t num_elsewhere = 0;
    for (const auto& [tensor, place] : file_of_tensor_) {
      if (!shards_.file_of_copies.contains(tensor) && FileInIndex(tensor) != names_[place]) ++num_elsewhere;
    }
    for (const auto& [tensor, file] : index_->file_of_tensor) {
      if (!file_of_tensor_.contains(tensor)) shards_.absent.emplace(tensor, file);
    }
    // Converters often leave the number of what they converted from.
    if (index_->total_bytes && *index_->total_bytes != total_bytes_ && shards_.absent.empty()) {
      shards_.warnings.push_back(absl::StrFormat("the index says total_size = %d, the files hold %d bytes of tensors",
                                                 *index_->total_bytes, total_bytes_));
    }
    if (num_elsewhere > 0) {
      shards_.warnings.push_back(
          absl::StrFormat("the index does not say of %d tensors that they are where they are; they are used as far as "
                          "config.json asks for them",
                          num_elsewhere));
    }
    if (!shards_.file_of_copies.empty()) {
      shards_.warnings.push_back(absl::StrFormat("%d tensors are in several files; the one counts that the index names",
                                                 shards_.file_of_copies.size()));
    }
  }

  const std::filesystem::path directory_;
  const ShardIndex* index_;  // none: every file's tensors count
  Shards shards_;
  std::vector<std::string> names_;                             // of shards_.files
  std::map<std::string, size_t, std::less<>> file_of_tensor_;  // the first one
  std::map<std::string, std::vector<size_t>> places_of_copies_;
  int64_t total_bytes_ = 0;
};

absl::StatusOr<Shards> OpenIndexed(const std::filesystem::path& directory, const ShardIndex& index) {
  std::set<std::string> names;
  for (const auto& [tensor, file] : index.file_of_tensor) names.insert(file);
  ShardOpener opener(directory, &index);
  for (const std::string& name : names) {
    if (absl::Status status = opener.Open(name); !status.ok()) return status;
  }
  return std::move(opener).Finish();
}

absl::StatusOr<Shards> OpenWithoutIndex(const std::filesystem::path& directory) {
  ShardOpener opener(directory, nullptr);
  absl::Status single = opener.Open("model.safetensors");
  if (single.ok()) return std::move(opener).Finish();
  if (!absl::IsNotFound(single)) return single;
  const absl::StatusOr<std::vector<std::string>> names = FindWeightFiles(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (absl::Status status = opener.Open(name); !status.ok()) return status;
  }
  absl::StatusOr<Shards> shards = std::move(opener).Finish();
  if (!shards.ok()) return shards;
  shards->warnings.push_back(
      absl::StrFormat("neither model.safetensors nor an index is there: all %d files are read that end in .safetensors",
                      names->size()));
  return shards;
}

}  // namespace

void Shards::ForEach(const std::function<void(const SafetensorsFile&, const SafetensorsEntry&)>& visit) const {
  for (size_t place = 0; place < files.size(); ++place) {
    for (const SafetensorsEntry& entry : files[place].entries()) {
      const auto copies = file_of_copies.find(entry.name);
      if (copies == file_of_copies.end() || copies->second == place) visit(files[place], entry);
    }
  }
}

absl::StatusOr<Shards> OpenShards(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / kShardIndexName;
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) return OpenWithoutIndex(directory);
  if (!file.ok()) return file.status();
  const absl::StatusOr<ShardIndex> index = ParseIndex(*file);
  if (!index.ok()) return InFile(path, index.status());
  return OpenIndexed(directory, *index);
}

}  // namespace latentd
