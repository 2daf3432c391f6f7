#include "engine/model/checkpoint/packed_index.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "base/json_reader.h"
#include "base/quoting.h"

namespace latentd {
namespace {

constexpr size_t kMaxDepth = 4;  // the index, its tensors, one, its shape

constexpr std::array kTypes = {std::pair{DType::kF32, "F32"}, std::pair{DType::kBf16, "BF16"},
                               std::pair{DType::kE4M3, "F8_E4M3"}, std::pair{DType::kInt4, "INT4"}};

// All of them must be there: what a reader makes up for one that is not may be wrong.
constexpr std::array<std::string_view, 4> kFacts = {"config", "source", "mtp_layers", "tensors"};
constexpr std::array<std::string_view, 7> kFields = {"name", "dtype", "shape", "begin", "scales", "end", "digest"};

using Words = std::set<std::string, std::less<>>;

std::string Hexadecimal(uint64_t number) { return absl::StrFormat("%016x", number); }

absl::Status Refuse(std::string_view where, std::string_view expected, const JsonValue& found) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected %s, found %s", Quoted(where), expected, Describe(found)));
}

absl::Status Require(std::string_view where, JsonContainer container, const JsonValue& found) {
  if (found == JsonValue(container)) return absl::OkStatus();
  return Refuse(where, container == JsonContainer::kObject ? "an object" : "a list", found);
}

absl::Status RequireAll(std::span<const std::string_view> words, const Words& found) {
  const auto missing = std::find_if(words.begin(), words.end(), [&](auto word) { return !found.contains(word); });
  if (missing == words.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("index: expected %s, found none; pack the source again with latent-convert", Quoted(*missing)));
}

absl::Status Read(std::string_view field, const JsonValue& value, uint64_t& to) {
  const int64_t* number = std::get_if<int64_t>(&value);
  if (number == nullptr || *number < 0) return Refuse(field, "a number from 0", value);
  to = static_cast<uint64_t>(*number);
  return absl::OkStatus();
}

absl::Status ReadDigest(std::string_view field, const JsonValue& value, uint64_t& to) {
  const std::string* text = std::get_if<std::string>(&value);
  if (text == nullptr || text->size() != 16 || !absl::SimpleHexAtoi(*text, &to)) {
    return Refuse(field, "16 hexadecimal digits", value);
  }
  return absl::OkStatus();
}

absl::Status ReadType(std::string_view field, const JsonValue& value, DType& to) {
  const std::string* name = std::get_if<std::string>(&value);
  for (const auto& [dtype, word] : kTypes) {
    if (name == nullptr || *name != word) continue;
    to = dtype;
    return absl::OkStatus();
  }
  return Refuse(field, "a type such as BF16", value);
}

class IndexReader {
 public:
  absl::Status Visit(std::span<const std::string> path, const JsonValue& value) {
    if (path.empty()) return Require("index", JsonContainer::kObject, value);
    if (path.size() == 1) return ReadFact(path[0], value);
    if (path[0] != "tensors") return absl::OkStatus();
    if (path.size() == 2) {
      if (absl::Status status = EndTensor(); !status.ok()) return status;
      if (absl::Status status = Require(path[1], JsonContainer::kObject, value); !status.ok()) return status;
      index_.tensors.emplace_back();
      return absl::OkStatus();
    }
    return path.size() == 3 ? ReadField(path[2], value) : ReadSize(path[2], value);
  }

  absl::StatusOr<PackedIndex> Finish() && {
    if (absl::Status status = EndTensor(); !status.ok()) return status;
    if (absl::Status status = RequireAll(kFacts, facts_); !status.ok()) return status;
    return std::move(index_);
  }

 private:
  absl::Status EndTensor() {
    const Words fields = std::exchange(fields_, {});
    return index_.tensors.empty() ? absl::OkStatus() : RequireAll(kFields, fields);
  }

  absl::Status ReadFact(const std::string& field, const JsonValue& value) {
    facts_.insert(field);
    if (field == "config") return ReadDigest(field, value, index_.config_digest);
    if (field == "source") return ReadDigest(field, value, index_.source_digest);
    if (field == "tensors") return Require(field, JsonContainer::kArray, value);
    if (field != "mtp_layers") return absl::OkStatus();
    uint64_t count = 0;
    if (absl::Status status = Read(field, value, count); !status.ok()) return status;
    if (count > static_cast<uint64_t>(std::numeric_limits<int>::max())) return Refuse(field, "fewer", value);
    index_.num_mtp_layers = static_cast<int>(count);
    return absl::OkStatus();
  }

  absl::Status ReadField(const std::string& field, const JsonValue& value) {
    fields_.insert(field);
    PackedTensor& tensor = index_.tensors.back();
    if (field == "begin") return Read(field, value, tensor.begin);
    if (field == "scales") return Read(field, value, tensor.scales);
    if (field == "end") return Read(field, value, tensor.end);
    if (field == "dtype") return ReadType(field, value, tensor.dtype);
    if (field == "digest") return ReadDigest(field, value, tensor.digest);
    if (field != "name") return absl::OkStatus();
    const std::string* name = std::get_if<std::string>(&value);
    if (name == nullptr) return Refuse(field, "a string", value);
    tensor.name = *name;
    return absl::OkStatus();
  }

  absl::Status ReadSize(const std::string& field, const JsonValue& value) {
    uint64_t size = 0;
    if (absl::Status status = Read(field, value, size); !status.ok()) return status;
    index_.tensors.back().shape.push_back(static_cast<int64_t>(size));
    return absl::OkStatus();
  }

  PackedIndex index_;
  Words facts_, fields_;  // those that were there; of the last tensor
};

}  // namespace

std::string_view PackedTypeName(DType dtype) {
  for (const auto& [type, word] : kTypes) {
    if (type == dtype) return word;
  }
  return "";
}

std::string PackedIndexText(const PackedIndex& index) {
  nlohmann::ordered_json json = {{"config", Hexadecimal(index.config_digest)},
                                 {"source", Hexadecimal(index.source_digest)},
                                 {"mtp_layers", index.num_mtp_layers},
                                 {"tensors", nlohmann::ordered_json::array()}};
  for (const PackedTensor& tensor : index.tensors) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"dtype", PackedTypeName(tensor.dtype)},
                               {"shape", tensor.shape},
                               {"begin", tensor.begin},
                               {"scales", tensor.scales},
                               {"end", tensor.end},
                               {"digest", Hexadecimal(tensor.digest)}});
  }
  return json.dump();
}

absl::StatusOr<PackedIndex> ParsePackedIndex(std::string_view text) {
  IndexReader reader;
  const auto visit = [&](std::span<const std::string> path, const JsonValue& value) {
    return reader.Visit(path, value);
  };
  if (absl::Status status = WalkJson(text, kMaxDepth, visit); !status.ok()) return status;
  return std::move(reader).Finish();
}

}  // namespace latentd
