#include "engine/model/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "engine/model/fingerprint.h"
#include "engine/model/mapped_file.h"
#include "engine/model/shards.h"
#include "kernels/check.h"
#include "kernels/cpu/processors.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/number_text.h"

namespace latentd {
namespace {

constexpr int64_t kScaleBlock = 128;

std::optional<DType> FindDType(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "BF16") return DType::kBf16;
  if (name == "F8_E4M3") return DType::kE4M3;
  if (name == "F8_E8M0") return DType::kE8M0;
  return std::nullopt;
}

// Buffers of rotary frequencies that old files carry along; ours are computed.
bool IsIgnored(std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); }

absl::Status CheckShape(std::string_view name, const std::vector<int64_t>& expected,
                        const std::vector<int64_t>& found) {
  if (found == expected) return absl::OkStatus();
  return InvalidTensor(name, absl::StrFormat("expected the shape %s, found %s; does config.json belong to it?",
                                             ShapeText(expected), ShapeText(found)));
}

absl::Status CheckWeightType(std::string_view name, TensorRole role, std::string_view dtype) {
  if (dtype == "BF16" || dtype == "F32") return absl::OkStatus();
  if (dtype == "F8_E4M3" && role == TensorRole::kProjection) return absl::OkStatus();
  const char* expected = role == TensorRole::kProjection ? "BF16, F32 or F8_E4M3" : "BF16 or F32";
  const char* why = dtype == "F16"
                        ? ", whose range the residuals of this architecture leave; convert the checkpoint to "
                          "BF16 or FP8"
                        : "";
  return InvalidTensor(name, absl::StrFormat("expected %s, found %s%s", expected, dtype, why));
}

absl::Status Unexpected(std::string_view name) {
  return InvalidTensor(name, "expected only tensors that config.json asks for, found this one too");
}

}  // namespace

StoredValues Checkpoint::ValuesOf(const std::string& name, const Stored& stored) {
  return {.tensor = name, .dtype = *FindDType(stored.dtype), .shape = stored.shape, .bytes = stored.bytes};
}

absl::StatusOr<Checkpoint> Checkpoint::Map(const std::filesystem::path& directory, OnRead on_read) {
  absl::StatusOr<Shards> shards = OpenShards(directory);
  if (!shards.ok()) return shards.status();
  Checkpoint checkpoint;
  checkpoint.directory_ = directory;
  checkpoint.files_ = std::move(shards->files);
  checkpoint.warnings_ = std::move(shards->warnings);
  for (const SafetensorsFile& file : checkpoint.files_) {
    for (const SafetensorsEntry& entry : file.entries()) {
      if (IsIgnored(entry.name)) continue;
      Stored& stored = checkpoint.tensors_[entry.name];
      stored.dtype = entry.dtype;
      stored.shape = entry.shape;
      stored.file = &file.file();
      stored.bytes = file.BytesOf(entry);
      checkpoint.tensor_bytes_ += entry.end - entry.begin;
    }
  }
  checkpoint.reads_ = std::make_unique<ReadRecord>(checkpoint.tensor_bytes_, std::move(on_read));
  return checkpoint;
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& directory, const ModelConfig& config,
                                            OnRead on_read) {
  absl::StatusOr<Checkpoint> mapped = Map(directory, std::move(on_read));
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
  return mapped;
}

std::vector<absl::Status> Checkpoint::FindProblems(const std::filesystem::path& directory, const ModelConfig& config) {
  absl::StatusOr<Checkpoint> checkpoint = Map(directory, nullptr);
  if (!checkpoint.ok()) return {checkpoint.status()};
  ThreadPool pool(cpu::FindComputeThreads().count);
  std::vector<absl::Status> problems;
  const auto keep = [&](const absl::Status& status) {
    if (!status.ok()) problems.push_back(status);
    return problems.size() < kMaxProblems ? absl::OkStatus() : status;
  };
  const absl::Status walk = ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) {
    const absl::Status status = checkpoint->Accept(expected);
    return keep(status.ok() ? checkpoint->CheckValues(expected.name, pool) : status);
  });
  for (const auto& [name, stored] : checkpoint->tensors_) {
    if (stored.expected || problems.size() >= kMaxProblems) continue;
    // Scales of a weight that is there were judged with it.
    constexpr std::string_view kScales = "_scale_inv";
    const bool is_judged = name.ends_with(kScales) && checkpoint->Has(name.substr(0, name.size() - kScales.size()));
    if (!is_judged) problems.push_back(Unexpected(name));
  }
  if (absl::Status status = checkpoint->CheckUncut(); !status.ok()) problems.push_back(status);
  return problems;
}

absl::Status Checkpoint::CheckValues(std::string_view name, ThreadPool& pool) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.lender == nullptr) return absl::OkStatus();
  constexpr size_t kStretchBytes = size_t{1} << 20;
  LentMatrix& matrix = *found->second.lender;
  const int stretch = static_cast<int>(std::max<size_t>(1, kStretchBytes / matrix.row_bytes()));
  pool.ForEach((matrix.num_rows() + stretch - 1) / stretch, [&](int item, int) {
    const int first = item * stretch, count = std::min(stretch, matrix.num_rows() - first);
    matrix.Lend(first, count);
    matrix.TakeBack(first, count);
  });
  return reads_->TakeFault();
}

absl::Status Checkpoint::CheckUnread(int num_threads) const {
  if (absl::Status status = ReadStatus(); !status.ok()) return status;
  ThreadPool pool(num_threads > 0 ? num_threads : cpu::FindComputeThreads().count);
  for (const auto& [name, stored] : tensors_) {
    if (stored.lender == nullptr || stored.lender->was_read()) continue;
    if (absl::Status status = CheckValues(name, pool); !status.ok()) return InFile(directory_, status);
  }
  return CheckUncut();
}

absl::Status Checkpoint::ReadStatus() const {
  if (absl::Status status = reads_->fault(); !status.ok()) return InFile(directory_, status);
  return CheckUncut();
}

absl::Status Checkpoint::CheckUncut() const {
  for (const SafetensorsFile& file : files_) {
    if (absl::Status status = file.file().CheckUncut(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::Accept(const ExpectedTensor& expected) {
  const auto found = tensors_.find(expected.name);
  if (found == tensors_.end()) {
    if (expected.optional) return absl::OkStatus();
    return InvalidTensor(expected.name, "config.json asks for it, found none; is a file absent?");
  }
  Stored& stored = found->second;
  stored.expected = true;
  if (absl::Status status = CheckWeightType(expected.name, expected.role, stored.dtype); !status.ok()) return status;
  if (absl::Status status = CheckShape(expected.name, expected.shape, stored.shape); !status.ok()) return status;
  if (stored.shape.size() == 2) {
    stored.lender = std::make_unique<LentMatrix>(ValuesOf(expected.name, stored), *stored.file, *reads_);
  } else {
    reads_->Count(stored.bytes.size());
    if (absl::Status status = ValuesOf(expected.name, stored).CheckFinite(); !status.ok()) return status;
  }
  return AcceptScales(expected.name, stored);
}

absl::Status Checkpoint::AcceptScales(const std::string& name, Stored& weight) {
  const std::string scale_name = name + "_scale_inv";
  const auto found = tensors_.find(scale_name);
  if (weight.dtype != "F8_E4M3") {
    if (found == tensors_.end()) return absl::OkStatus();
    return InvalidTensor(scale_name,
                         absl::StrFormat("expected beside an F8_E4M3 weight, found a weight of %s", weight.dtype));
  }
  if (found == tensors_.end()) return InvalidTensor(scale_name, "expected beside its F8_E4M3 weight, found none");

  Stored& scales = found->second;
  scales.expected = true;
  const std::optional<DType> dtype = FindDType(scales.dtype);
  if (!dtype || dtype == DType::kE4M3) {
    return InvalidTensor(scale_name, absl::StrFormat("expected F32, BF16 or F8_E8M0, found %s", scales.dtype));
  }
  std::vector<int64_t> blocks = weight.shape;
  for (int64_t& size : blocks) size = (size + kScaleBlock - 1) / kScaleBlock;
  if (absl::Status status = CheckShape(scale_name, blocks, scales.shape); !status.ok()) return status;
  const StoredValues values = ValuesOf(scale_name, scales);
  weight.scales = values.All();
  reads_->Count(scales.bytes.size());
  for (size_t i = 0; i < weight.scales.size(); ++i) {
    const float scale = weight.scales[i];
    if (!std::isfinite(scale) || scale <= 0.0f) {
      return InvalidTensor(scale_name, absl::StrFormat("expected finite scales above 0, found %s at %s",
                                                       NumberText(scale), values.PlaceText(i)));
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

uint64_t Checkpoint::Digest() const {
  uint64_t digest = kFingerprintSeed;
  for (const auto& [name, stored] : tensors_) {
    CHECK(stored.lender == nullptr || stored.lender->was_read());
    const uint64_t content = stored.lender != nullptr ? stored.lender->digest()
                             : stored.bytes.empty()   ? 0
                                                      : SampledDigest(stored.bytes, stored.bytes.size(), 0, 1);
    digest =
        Fingerprint(absl::StrFormat("%s %s %s %016x\n", name, stored.dtype, ShapeText(stored.shape), content), digest);
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
          .scales = stored.scales,
          .lender = stored.lender.get()};
}

std::vector<float> Checkpoint::Vector(std::string_view name) const {
  const auto found = tensors_.find(name);
  CHECK(found != tensors_.end());
  const Stored& stored = found->second;
  CHECK_EQ(stored.shape.size(), 1u);
  return ValuesOf(found->first, stored).All();
}

}  // namespace latentd
