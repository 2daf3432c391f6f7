#include "engine/model/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "engine/model/fingerprint.h"
#include "engine/model/mapped_file.h"
#include "engine/model/shards.h"
#include "engine/model/value_scan.h"
#include "kernels/check.h"
#include "kernels/fp8.h"

namespace latentd {
namespace {

constexpr int64_t kScaleBlock = 128;

absl::Status Invalid(std::string_view tensor, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrFormat("tensor %s: %s", Quoted(tensor), what));
}

std::optional<DType> FindDType(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "BF16") return DType::kBf16;
  if (name == "F8_E4M3") return DType::kE4M3;
  if (name == "F8_E8M0") return DType::kE8M0;
  return std::nullopt;
}

// Buffers of rotary frequencies that old files carry along; ours are computed.
bool IsIgnored(std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); }

float DecodeAt(DType dtype, std::span<const std::byte> bytes, size_t index) {
  const std::byte* at = bytes.data() + index * SizeOf(dtype);
  switch (dtype) {
    case DType::kF32: {
      float value;
      std::memcpy(&value, at, sizeof(value));
      return value;
    }
    case DType::kBf16: {
      uint16_t bits;
      std::memcpy(&bits, at, sizeof(bits));
      return DecodeBf16(bits);
    }
    case DType::kE4M3:
      return DecodeE4M3(static_cast<uint8_t>(*at));
    case DType::kE8M0:
      return DecodeE8M0(static_cast<uint8_t>(*at));
  }
  return 0.0f;
}

std::vector<float> DecodeAll(DType dtype, std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) values[i] = DecodeAt(dtype, bytes, i);
  return values;
}

// "[3, 17]": where the value of that index lies in a tensor of that shape.
std::string PlaceText(std::vector<int64_t> shape, size_t index) {
  for (size_t i = shape.size(); i-- > 0;) {
    const size_t width = static_cast<size_t>(shape[i]);
    shape[i] = static_cast<int64_t>(index % width);
    index /= width;
  }
  return ShapeText(shape);
}

absl::Status CheckFinite(std::string_view name, DType dtype, const std::vector<int64_t>& shape,
                         std::span<const std::byte> bytes) {
  const std::optional<size_t> fault = FindNonFinite(dtype, bytes);
  if (!fault) return absl::OkStatus();
  return Invalid(name, absl::StrFormat("expected finite values, found %g at %s; the file is damaged, fetch it again",
                                       DecodeAt(dtype, bytes, *fault), PlaceText(shape, *fault)));
}

absl::Status CheckShape(std::string_view name, const std::vector<int64_t>& expected,
                        const std::vector<int64_t>& found) {
  if (found == expected) return absl::OkStatus();
  return Invalid(name, absl::StrFormat("expected the shape %s, found %s; does config.json belong to it?",
                                       ShapeText(expected), ShapeText(found)));
}

absl::Status CheckWeightType(std::string_view name, TensorRole role, std::string_view dtype) {
  if (dtype == "BF16" || dtype == "F32") return absl::OkStatus();
  if (dtype == "F8_E4M3" && role == TensorRole::kProjection) return absl::OkStatus();
  if (dtype == "F16") {
    return Invalid(name,
                   "expected BF16, F32 or F8_E4M3, found F16, whose range the activations of this architecture "
                   "leave; convert the checkpoint to BF16");
  }
  const char* expected = role == TensorRole::kProjection ? "BF16, F32 or F8_E4M3" : "BF16 or F32";
  return Invalid(name, absl::StrFormat("expected %s, found %s", expected, dtype));
}

absl::Status Unexpected(std::string_view name) {
  return Invalid(name, "expected only tensors that config.json asks for, found this one too");
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Map(const std::filesystem::path& directory) {
  absl::StatusOr<Shards> shards = OpenShards(directory);
  if (!shards.ok()) return shards.status();
  Checkpoint checkpoint;
  checkpoint.files_ = std::move(shards->files);
  checkpoint.warnings_ = std::move(shards->warnings);
  for (const SafetensorsFile& file : checkpoint.files_) {
    for (const SafetensorsEntry& entry : file.entries()) {
      if (IsIgnored(entry.name)) continue;
      checkpoint.tensors_[entry.name] = {
          .dtype = entry.dtype, .shape = entry.shape, .bytes = file.BytesOf(entry), .scales = {}};
      checkpoint.tensor_bytes_ += entry.end - entry.begin;
    }
  }
  return checkpoint;
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& directory, const ModelConfig& config) {
  absl::StatusOr<Checkpoint> mapped = Map(directory);
  if (!mapped.ok()) return mapped;
  Checkpoint& checkpoint = *mapped;
  absl::Status status =
      ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) { return checkpoint.Accept(expected); });
  if (status.ok()) status = checkpoint.CheckAllExpected();
  if (!status.ok()) return InFile(directory, status);
  if (config.quantization.power_of_two_scales && checkpoint.num_uneven_scales_ > 0) {
    checkpoint.warnings_.push_back(
        absl::StrFormat("scale_fmt is ue8m0, but %d FP8 scales are not powers of two", checkpoint.num_uneven_scales_));
  }
  checkpoint.digest_ = checkpoint.ComputeDigest();
  return mapped;
}

std::vector<absl::Status> Checkpoint::FindProblems(const std::filesystem::path& directory, const ModelConfig& config) {
  absl::StatusOr<Checkpoint> checkpoint = Map(directory);
  if (!checkpoint.ok()) return {checkpoint.status()};
  std::vector<absl::Status> problems;
  const auto keep = [&](const absl::Status& status) {
    if (!status.ok()) problems.push_back(status);
    return problems.size() < kMaxProblems ? absl::OkStatus() : status;
  };
  const absl::Status walk =
      ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) { return keep(checkpoint->Accept(expected)); });
  for (const auto& [name, stored] : checkpoint->tensors_) {
    if (stored.expected || problems.size() >= kMaxProblems) continue;
    // Scales of a weight that is there were judged with it.
    constexpr std::string_view kScales = "_scale_inv";
    const bool is_judged = name.ends_with(kScales) && checkpoint->Has(name.substr(0, name.size() - kScales.size()));
    if (!is_judged) problems.push_back(Unexpected(name));
  }
  return problems;
}

absl::Status Checkpoint::Accept(const ExpectedTensor& expected) {
  const auto found = tensors_.find(expected.name);
  if (found == tensors_.end()) {
    if (expected.optional) return absl::OkStatus();
    return Invalid(expected.name, "config.json asks for it, found none; is a file absent?");
  }
  Stored& stored = found->second;
  stored.expected = true;
  if (absl::Status status = CheckWeightType(expected.name, expected.role, stored.dtype); !status.ok()) return status;
  if (absl::Status status = CheckShape(expected.name, expected.shape, stored.shape); !status.ok()) return status;
  const DType dtype = *FindDType(stored.dtype);
  if (absl::Status status = CheckFinite(expected.name, dtype, stored.shape, stored.bytes); !status.ok()) return status;
  return AcceptScales(expected.name, stored);
}

absl::Status Checkpoint::AcceptScales(const std::string& name, Stored& weight) {
  const std::string scale_name = name + "_scale_inv";
  const auto found = tensors_.find(scale_name);
  if (weight.dtype != "F8_E4M3") {
    if (found == tensors_.end()) return absl::OkStatus();
    return Invalid(scale_name,
                   absl::StrFormat("expected beside an F8_E4M3 weight, found a weight of %s", weight.dtype));
  }
  if (found == tensors_.end()) return Invalid(scale_name, "expected beside its F8_E4M3 weight, found none");

  Stored& scales = found->second;
  scales.expected = true;
  const std::optional<DType> dtype = FindDType(scales.dtype);
  if (!dtype || dtype == DType::kE4M3) {
    return Invalid(scale_name, absl::StrFormat("expected F32, BF16 or F8_E8M0, found %s", scales.dtype));
  }
  std::vector<int64_t> blocks = weight.shape;
  for (int64_t& size : blocks) size = (size + kScaleBlock - 1) / kScaleBlock;
  if (absl::Status status = CheckShape(scale_name, blocks, scales.shape); !status.ok()) return status;
  weight.scales = DecodeAll(*dtype, scales.bytes);
  for (size_t i = 0; i < weight.scales.size(); ++i) {
    const float scale = weight.scales[i];
    if (!std::isfinite(scale) || scale <= 0.0f) {
      return Invalid(scale_name,
                     absl::StrFormat("expected finite scales above 0, found %g at %s", scale, PlaceText(blocks, i)));
    }
    int exponent = 0;
    if (std::frexp(scale, &exponent) != 0.5f) ++num_uneven_scales_;
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::CheckAllExpected() const {
  for (const auto& [name, stored] : tensors_) {
    if (!stored.expected) return Unexpected(name);
  }
  return absl::OkStatus();
}

uint64_t Checkpoint::ComputeDigest() const {
  constexpr size_t kWords = 256;
  constexpr size_t kWordBytes = 8;
  uint64_t digest = kFingerprintSeed;
  for (const auto& [name, stored] : tensors_) {
    digest =
        Fingerprint(absl::StrCat(name, " ", std::string(stored.dtype), " ", ShapeText(stored.shape), "\n"), digest);
    const std::string_view text(reinterpret_cast<const char*>(stored.bytes.data()), stored.bytes.size());
    const size_t num_words = (text.size() + kWordBytes - 1) / kWordBytes;
    const size_t num_sampled = std::min(num_words, kWords);
    for (size_t i = 0; i < num_sampled; ++i) {
      digest = Fingerprint(text.substr(num_words * i / num_sampled * kWordBytes, kWordBytes), digest);
    }
  }
  return digest;
}

MatrixSource Checkpoint::Matrix(std::string_view name) const {
  const auto found = tensors_.find(name);
  CHECK(found != tensors_.end());
  const Stored& stored = found->second;
  CHECK_EQ(stored.shape.size(), 2u);
  return {.dtype = *FindDType(stored.dtype),
          .outputs = static_cast<int>(stored.shape[0]),
          .inputs = static_cast<int>(stored.shape[1]),
          .bytes = stored.bytes.data(),
          .scales = stored.scales};
}

std::vector<float> Checkpoint::Vector(std::string_view name) const {
  const auto found = tensors_.find(name);
  CHECK(found != tensors_.end());
  const Stored& stored = found->second;
  CHECK_EQ(stored.shape.size(), 1u);
  return DecodeAll(*FindDType(stored.dtype), stored.bytes);
}

}  // namespace latentd
