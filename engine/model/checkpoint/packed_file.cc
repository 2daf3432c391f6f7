#include "engine/model/checkpoint/packed_file.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/check.h"
#include "base/file.h"
#include "base/fingerprint.h"
#include "base/quoting.h"
#include "base/thread_pool.h"
#include "engine/model/checkpoint/safetensors.h"
#include "engine/model/checkpoint/stored_values.h"
#include "kernels/rounding.h"

namespace latentd {
namespace {

constexpr uint64_t kMaxIndexBytes = 100'000'000;
constexpr char kPackAgain[] = "pack the source again with latent-convert";

absl::Status Wrong(std::string_view expected, std::string_view found, std::string_view advice = kPackAgain) {
  return absl::InvalidArgumentError(absl::StrFormat("expected %s, found %s; %s", expected, found, advice));
}

absl::Status CheckHeader(const PackedHeader& header, uint64_t file_bytes) {
  if (!std::equal(std::begin(header.magic), std::end(header.magic), std::begin(PackedHeader::kMagic))) {
    return Wrong("a packed file", "another one, or one that was not finished");
  }
  if (header.format != PackedHeader::kFormat || header.layout != kPackedLayout) {
    return Wrong(
        absl::StrFormat("format %d with layout %d, which this version reads", PackedHeader::kFormat, kPackedLayout),
        absl::StrFormat("format %d with layout %d", header.format, header.layout),
        "pack the source again with this version's latent-convert");
  }
  if (header.file_bytes != file_bytes) {
    const std::string_view fault = file_bytes < header.file_bytes ? "is cut" : "goes on behind its end";
    return Wrong(absl::StrFormat("%d bytes", header.file_bytes), absl::StrFormat("%d: the file %s", file_bytes, fault),
                 "copy it again, or pack the source again");
  }
  if (header.index_begin < sizeof(header) || header.index_begin > file_bytes ||
      file_bytes - header.index_begin > kMaxIndexBytes) {
    return Wrong("an index at the end", absl::StrFormat("it at byte %d", header.index_begin));
  }
  return absl::OkStatus();
}

std::span<const std::byte> Part(const MappedFile& file, uint64_t begin, uint64_t end) {
  return file.bytes().subspan(begin, end - begin);
}

bool MayBe(DType dtype, TensorRole role) {
  if (dtype == DType::kE4M3) return MayBeFp8(role);
  if (dtype == DType::kInt4) return MayBeInt4(role);
  return true;
}

// What the backend takes for granted of a tensor that config.json asks for.
absl::Status CheckFits(const ExpectedTensor& expected, const PackedTensor& facts) {
  if (absl::Status status = CheckShape(expected.name, expected.shape, facts.shape); !status.ok()) return status;
  if (!MayBe(facts.dtype, expected.role)) {
    return InvalidTensor(expected.name, absl::StrFormat("expected a type that such a weight may have, found %s; %s",
                                                        PackedTypeName(facts.dtype), kPackAgain));
  }
  const uint64_t rows = CeilDiv(static_cast<uint64_t>(facts.shape[0]), 128);
  const uint64_t columns = CeilDiv(static_cast<uint64_t>(facts.shape.back()), 128);
  const uint64_t scale_bytes = facts.dtype == DType::kE4M3 ? rows * columns * sizeof(float) : 0;
  if (facts.end - facts.scales == scale_bytes) return absl::OkStatus();
  return InvalidTensor(expected.name, absl::StrFormat("expected %d bytes of scales, found %d; %s", scale_bytes,
                                                      facts.end - facts.scales, kPackAgain));
}

}  // namespace

uint64_t PackedDigest(std::span<const std::byte> bytes) {
  uint64_t digest = kFingerprintSeed ^ bytes.size();
  for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof(word), bytes.size() - at));
    digest = (digest ^ word) * 0x9e3779b97f4a7c15;
    digest ^= digest >> 32;
  }
  return digest;
}

bool HasPackedFile(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(directory / kPackedFileName, error);
}

absl::StatusOr<PackedFile> PackedFile::Open(const std::filesystem::path& path) {
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  PackedFile packed;
  packed.path_ = path;
  packed.file_ = std::make_shared<const MappedFile>(*std::move(file));
  const std::span<const std::byte> bytes = packed.file_->bytes();
  PackedHeader header;
  std::memcpy(&header, bytes.data(), std::min(sizeof(header), bytes.size()));
  if (absl::Status status = CheckHeader(header, bytes.size()); !status.ok()) return InFile(path, status);
  if (PackedDigest(bytes.subspan(header.index_begin)) != header.index_digest) {
    return InFile(path, Wrong("the index that was written", "another: the file is damaged"));
  }
  absl::StatusOr<PackedIndex> index = ParsePackedIndex(packed.file_->text().substr(header.index_begin));
  if (!index.ok()) return InFile(path, index.status());
  for (PackedTensor& tensor : index->tensors) {
    if (absl::Status status = packed.Add(std::move(tensor), header.index_begin); !status.ok()) {
      return InFile(path, status);
    }
  }
  index->tensors.clear();
  packed.index_ = *std::move(index);
  return packed;
}

// What the index says is within the file and fits together. Shapes are held against config.json by Accept.
absl::Status PackedFile::Add(PackedTensor facts, uint64_t end_of_tensors) {
  const bool is_matrix = facts.shape.size() == 2;
  const bool is_ordered = facts.begin <= facts.scales && facts.scales <= facts.end && facts.end <= end_of_tensors;
  if (!is_ordered || facts.begin % PackedBytes::kAlignment != 0 || facts.scales % PackedBytes::kAlignment != 0) {
    return InvalidTensor(facts.name, absl::StrFormat("expected it within the %d bytes before the index, found [%d, %d]",
                                                     end_of_tensors, facts.begin, facts.end));
  }
  if (!is_matrix && facts.shape.size() != 1) {
    return InvalidTensor(facts.name, "expected a matrix or a vector, found " + ShapeText(facts.shape));
  }
  if (!is_matrix && facts.dtype != DType::kF32) {
    return InvalidTensor(facts.name, absl::StrFormat("expected F32, found %s", PackedTypeName(facts.dtype)));
  }
  if (!is_matrix && (facts.scales - facts.begin) / sizeof(float) < static_cast<uint64_t>(facts.shape[0])) {
    return InvalidTensor(
        facts.name, absl::StrFormat("expected %d values, found %d bytes", facts.shape[0], facts.scales - facts.begin));
  }
  Tensor tensor = {.facts = facts, .packed = nullptr};
  if (is_matrix) tensor.packed = std::make_unique<PackedBytes>(Part(*file_, facts.begin, facts.scales));
  tensor_bytes_ += facts.end - facts.begin;
  const std::string name = facts.name;
  if (!tensors_.emplace(name, std::move(tensor)).second) return InvalidTensor(name, "expected once, found twice");
  return absl::OkStatus();
}

absl::Status PackedFile::Accept(const ModelConfig& config) {
  if (config.digest != index_.config_digest) {
    return InFile(path_, Wrong("the config.json that it was packed with", "another one beside it"));
  }
  if (index_.num_mtp_layers > config.num_mtp_layers) {
    return InFile(path_, Wrong(absl::StrFormat("at most %d layers that predict further tokens", config.num_mtp_layers),
                               absl::StrFormat("%d", index_.num_mtp_layers)));
  }
  if (absl::Status status = AcceptTensors(config); !status.ok()) return InFile(path_, status);
  return absl::OkStatus();
}

// It has all tensors of the layer that drafts, or none.
absl::Status PackedFile::AcceptTensors(const ModelConfig& config) {
  size_t num_expected = 0;
  std::string lacking;  // the first of the layer that drafts
  const absl::Status walk = ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) {
    if (expected.use == TensorUse::kChecked) return absl::OkStatus();
    const bool is_drafting = expected.use == TensorUse::kDrafting;
    const auto found = tensors_.find(expected.name);
    if (found == tensors_.end()) {
      if (!is_drafting) return InvalidTensor(expected.name, "expected it in the index, found none");
      if (lacking.empty() && !expected.is_copy()) lacking = expected.name;
      return absl::OkStatus();
    }
    ++num_expected;
    found->second.use = expected.use;
    can_draft_ = can_draft_ || is_drafting;
    return CheckFits(expected, found->second.facts);
  });
  if (!walk.ok()) return walk;
  if (can_draft_ && !lacking.empty()) return InvalidTensor(lacking, "expected it in the index, found none");
  if (can_draft_ && index_.num_mtp_layers == 0) return Wrong("no layer that predicts further tokens", "one");
  if (num_expected == tensors_.size()) return absl::OkStatus();
  return Wrong(absl::StrFormat("%d tensors", num_expected), absl::StrFormat("%d", tensors_.size()));
}

std::span<const float> PackedFile::FloatsAt(uint64_t begin, uint64_t end) const {
  return {reinterpret_cast<const float*>(file_->bytes().data() + begin), (end - begin) / sizeof(float)};
}

const PackedFile::Tensor& PackedFile::At(std::string_view name) const {
  const auto found = tensors_.find(name);
  CHECK(found != tensors_.end());
  return found->second;
}

MatrixSource PackedFile::Matrix(std::string_view name) const {
  const Tensor& tensor = At(name);
  const PackedTensor& facts = tensor.facts;
  CHECK_EQ(facts.shape.size(), 2u);
  return {.dtype = facts.dtype,
          .outputs = static_cast<int>(facts.shape[0]),
          .inputs = static_cast<int>(facts.shape[1]),
          .scales = FloatsAt(facts.scales, facts.end),
          .lender = tensor.packed.get(),
          .name = facts.name};
}

std::vector<float> PackedFile::Vector(std::string_view name) const {
  const PackedTensor& facts = At(name).facts;
  const std::span<const float> values = FloatsAt(facts.begin, facts.scales).first(static_cast<size_t>(facts.shape[0]));
  return {values.begin(), values.end()};
}

void PackedFile::ForEach(const std::function<void(const PackedTensor&)>& visit) const {
  for (const auto& [name, tensor] : tensors_) visit(tensor.facts);
}

absl::Status PackedFile::CheckTaken(const std::set<std::string, std::less<>>& taken, MtpUse mtp) const {
  absl::Status first;
  for (const auto& [name, tensor] : tensors_) {
    if (!IsLoaded(tensor.use, mtp)) continue;
    if (!taken.contains(name)) {
      return absl::InternalError(
          absl::StrFormat("%s: expected among the weights, found it packed and not used: LoadWeights forgot it; report "
                          "this",
                          name));
    }
    const absl::Status status = tensor.packed != nullptr ? tensor.packed->EndTaking() : absl::OkStatus();
    if (first.ok() && !status.ok()) first = InFile(path_, InvalidTensor(name, std::string(status.message())));
  }
  return first;
}

void PackedFile::BringIn(ThreadPool& pool, const std::function<void(uint64_t num_bytes)>& on_read) const {
  std::vector<const Tensor*> tensors;
  for (const auto& [name, tensor] : tensors_) tensors.push_back(&tensor);
  pool.ForEach(static_cast<int>(tensors.size()), [&](int item, int) {
    const Tensor& tensor = *tensors[static_cast<size_t>(item)];
    const std::span<const std::byte> part = BytesOf(tensor);
    if (tensor.packed == nullptr || tensor.packed->was_taken()) file_->BringIn(part);
    on_read(part.size());
  });
}

std::vector<absl::Status> PackedFile::FindDamage(ThreadPool& pool) const {
  std::vector<const Tensor*> tensors;
  for (const auto& [name, tensor] : tensors_) tensors.push_back(&tensor);
  std::vector<absl::Status> found(tensors.size());
  pool.ForEach(static_cast<int>(tensors.size()), [&](int item, int) {
    const Tensor& tensor = *tensors[static_cast<size_t>(item)];
    if (PackedDigest(BytesOf(tensor)) == tensor.facts.digest) return;
    found[static_cast<size_t>(item)] =
        InFile(path_, InvalidTensor(tensor.facts.name, absl::StrFormat("expected the bytes that were packed, found "
                                                                       "others: the file is damaged; %s",
                                                                       kPackAgain)));
  });
  std::erase_if(found, [](const absl::Status& status) { return status.ok(); });
  return found;
}

}  // namespace latentd
