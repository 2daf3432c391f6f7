#include "engine/model/checkpoint/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/check.h"
#include "base/file.h"
#include "base/fingerprint.h"
#include "base/number_text.h"
#include "base/processors.h"
#include "base/quoting.h"
#include "base/thread_pool.h"
#include "engine/model/checkpoint/packed_file.h"
#include "engine/model/checkpoint/shards.h"
#include "engine/model/checkpoint/tensor_names.h"

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

absl::Status CheckWeightType(std::string_view name, TensorRole role, std::string_view dtype) {
  if (dtype == "BF16" || dtype == "F32") return absl::OkStatus();
  if (dtype == "F8_E4M3" && MayBeFp8(role)) return absl::OkStatus();
  const char* expected = MayBeFp8(role) ? "BF16, F32 or F8_E4M3" : "BF16 or F32";
  const char* why = dtype == "F16"
                        ? ", whose range the residuals of this architecture leave; convert the checkpoint to "
                          "BF16 or FP8"
                        : "";
  return InvalidTensor(name, absl::StrFormat("expected %s, found %s%s", expected, dtype, why));
}

// Names for one line.
std::string Few(const std::vector<std::string>& names) {
  constexpr size_t kMost = 3;
  const size_t shown = std::min(names.size(), kMost);
  return absl::StrCat(absl::StrJoin(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", ",
                                    [](std::string* out, const std::string& name) { out->append(Quoted(name)); }),
                      names.size() > shown ? ", …" : "");
}

}  // namespace

StoredValues Checkpoint::ValuesOf(const std::string& name, const Stored& stored) {
  return {.tensor = name, .dtype = *FindDType(stored.dtype), .shape = stored.shape, .bytes = stored.bytes};
}

absl::StatusOr<Checkpoint> Checkpoint::Map(const std::filesystem::path& directory) {
  absl::StatusOr<Shards> shards = OpenShards(directory);
  if (!shards.ok()) return shards.status();
  Checkpoint checkpoint;
  checkpoint.directory_ = directory;
  shards->ForEach([&](const SafetensorsFile& file, const SafetensorsEntry& entry) {
    if (tensor_names::IsRotaryBuffer(entry.name)) return;
    Stored& stored = checkpoint.tensors_[entry.name];
    stored.dtype = entry.dtype;
    stored.shape = entry.shape;
    stored.file = &file.file();
    stored.bytes = file.BytesOf(entry);
  });
  checkpoint.files_ = std::move(shards->files);  // where they are they stay
  checkpoint.warnings_ = std::move(shards->warnings);
  checkpoint.absent_ = std::move(shards->absent);
  return checkpoint;
}

Checkpoint::Tensors::const_iterator Checkpoint::FindWeight(std::string_view name) const {
  const auto plain = tensors_.find(name);
  return plain != tensors_.end() ? plain : tensors_.find(std::string(name) + tensor_names::kPacked);
}

Checkpoint::Tensors::iterator Checkpoint::FindPart(std::string_view weight, const char* end) {
  return tensors_.find(std::string(weight) + end);
}

absl::Status Checkpoint::Select(const ModelConfig& config, const OnProblem& on_problem, OnRead on_read) {
  absl::Status status = MarkExpected(config, on_problem);
  if (status.ok()) status = LeaveUnusedAside(config, on_problem);
  for (const auto& [name, stored] : tensors_) tensor_bytes_ += stored.bytes.size();
  reads_ = std::make_unique<ReadRecord>(tensor_bytes_, std::move(on_read));
  return status;
}

absl::Status Checkpoint::MarkExpected(const ModelConfig& config, const OnProblem& on_problem) {
  num_mtp_layers_ = config.num_mtp_layers;
  std::vector<std::string> lacking;  // of layers that predict further tokens
  const absl::Status walk = ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) {
    if (MarkWeight(expected)) return absl::OkStatus();
    if (expected.is_copy()) return absl::OkStatus();
    if (expected.mtp_layer < 0) return on_problem(Absent(expected, config));
    num_mtp_layers_ = std::min(num_mtp_layers_, expected.mtp_layer);
    lacking.push_back(expected.name);
    return absl::OkStatus();
  });
  if (!walk.ok() || lacking.empty()) return walk;
  warnings_.push_back(absl::StrFormat(
      "config.json names %d layers that predict further tokens (num_nextn_predict_layers), and of their tensors %d are "
      "absent, such as %s: %d of the layers are served, text is the same without them",
      config.num_mtp_layers, lacking.size(), Quoted(lacking.front()), num_mtp_layers_));
  for (auto& [name, stored] : tensors_) {
    const std::optional<int> layer = tensor_names::LayerOf(name);
    if (layer && *layer >= config.num_layers + num_mtp_layers_) stored.expected = false;
  }
  return absl::OkStatus();
}

bool Checkpoint::MarkWeight(const ExpectedTensor& expected) {
  const auto plain = tensors_.find(expected.name), packed = FindPart(expected.name, tensor_names::kPacked);
  for (const auto& weight : {plain, packed}) {
    if (weight == tensors_.end()) continue;
    weight->second.expected = true;
    weight->second.use = expected.use;
  }
  const auto mark = [&](const char* end) {
    const auto part = FindPart(expected.name, end);
    if (part != tensors_.end()) part->second.expected = true;
  };
  if (plain != tensors_.end()) mark(tensor_names::kScales);
  if (packed != tensors_.end()) {
    for (const char* end : {tensor_names::kGroupScales, tensor_names::kPackedShape, tensor_names::kZeroPoints,
                            tensor_names::kGroupIndex}) {
      mark(end);
    }
  }
  return plain != tensors_.end() || packed != tensors_.end();
}

absl::Status Checkpoint::Absent(const ExpectedTensor& expected, const ModelConfig& config) const {
  auto indexed = absent_.find(expected.name);
  if (indexed == absent_.end()) indexed = absent_.find(expected.name + tensor_names::kPacked);
  if (indexed == absent_.end()) {
    const bool is_head = expected.name == tensor_names::kHead;
    const std::string defaults = config.left_out.empty()
                                     ? ""
                                     : absl::StrCat(" Or should config.json, which leaves them out, say other than ",
                                                    absl::StrJoin(config.left_out, ", "), "?");
    return InvalidTensor(expected.name, absl::StrCat("config.json asks for it, found none; is a file absent?",
                                                     is_head ? " (is tie_word_embeddings true?)" : "", defaults));
  }
  std::error_code error;
  const bool has_file = std::filesystem::exists(directory_ / indexed->second, error);
  return InvalidTensor(indexed->first,
                       absl::StrFormat("expected in %s, as the index says, found %s", Quoted(indexed->second),
                                       has_file ? "it not there; fetch that file again" : "no such file; fetch it"));
}

absl::Status Checkpoint::LeaveUnusedAside(const ModelConfig& config, const OnProblem& on_problem) {
  std::vector<std::string> unused;
  for (auto it = tensors_.begin(); it != tensors_.end();) {
    if (it->second.expected) {
      ++it;
      continue;
    }
    const std::optional<int> layer = tensor_names::LayerOf(it->first);
    if (layer && *layer < config.num_layers && tensor_names::IsOnlyOfMtp(it->first)) {
      const absl::Status status = on_problem(InvalidTensor(
          it->first, absl::StrFormat("expected only tensors that config.json asks for, found one of a layer that "
                                     "predicts further tokens; does num_hidden_layers = %d count that layer, too?",
                                     config.num_layers)));
      if (!status.ok()) return status;
    }
    // An incomplete layer that predicts further tokens has its own warning.
    const bool is_known = layer && *layer >= config.num_layers && *layer < config.num_layers + config.num_mtp_layers;
    if (!is_known) unused.push_back(it->first);
    it = tensors_.erase(it);
  }
  if (!unused.empty()) {
    warnings_.push_back(absl::StrFormat("%d tensors are left aside, since config.json asks for no such ones: %s",
                                        unused.size(), Few(unused)));
  }
  if (!absent_.empty()) {
    warnings_.push_back(absl::StrFormat(
        "the index names %d tensors that are not there, such as %s in %s; nothing that is used is among them",
        absent_.size(), Quoted(absent_.begin()->first), Quoted(absent_.begin()->second)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& directory, const ModelConfig& config,
                                            OnRead on_read) {
  if (HasPackedFile(directory)) return OpenPacked(directory, config, std::move(on_read));
  absl::StatusOr<Checkpoint> mapped = Map(directory);
  if (!mapped.ok()) return mapped;
  Checkpoint& checkpoint = *mapped;
  const absl::Status selected = checkpoint.Select(
      config, [](const absl::Status& problem) { return problem; }, std::move(on_read));
  // Among several problems the first in the model's order tells most: a config.json of another model, say.
  absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) {
    if (expected.mtp_layer >= checkpoint.num_mtp_layers_) return absl::OkStatus();
    if (checkpoint.Has(expected.name)) return checkpoint.Accept(expected);
    return expected.is_copy() ? absl::OkStatus() : selected;
  });
  if (status.ok()) status = selected;
  if (!status.ok()) return InFile(directory, status);
  if (config.quantization.power_of_two_scales && checkpoint.num_uneven_scales_ > 0) {
    checkpoint.warnings_.push_back(
        absl::StrFormat("scale_fmt is ue8m0, but %d FP8 scales are not powers of two", checkpoint.num_uneven_scales_));
  }
  return mapped;
}

std::vector<absl::Status> Checkpoint::FindProblems(const std::filesystem::path& directory, const ModelConfig& config) {
  const bool is_packed = HasPackedFile(directory);
  absl::StatusOr<Checkpoint> checkpoint = is_packed ? OpenPacked(directory, config, nullptr) : Map(directory);
  if (!checkpoint.ok()) return {checkpoint.status()};
  ThreadPool pool(cpu::FindComputeThreads().count);
  if (is_packed) return checkpoint->packed_->FindDamage(pool);
  std::vector<absl::Status> problems;
  const auto keep = [&](const absl::Status& status) {
    if (!status.ok()) problems.push_back(status);
    return problems.size() < kMaxProblems ? absl::OkStatus() : status;
  };
  if (!checkpoint->Select(config, keep, nullptr).ok()) return problems;
  const absl::Status walk = ForEachExpectedTensor(config, [&](const ExpectedTensor& expected) {
    if (!checkpoint->Has(expected.name)) return absl::OkStatus();  // that was told
    const absl::Status status = checkpoint->Accept(expected);
    return keep(status.ok() ? checkpoint->CheckValues(expected.name, pool) : status);
  });
  if (absl::Status status = checkpoint->CheckUncut(); !status.ok()) problems.push_back(status);
  return problems;
}

absl::Status Checkpoint::CheckValues(std::string_view name, ThreadPool& pool) const {
  const auto found = FindWeight(name);
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
  ThreadPool pool(cpu::ThreadsOrGranted(num_threads));
  if (packed_ != nullptr) packed_->BringIn(pool, [this](uint64_t num_bytes) { reads_->Count(num_bytes); });
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
  if (packed_ != nullptr) return packed_->file()->CheckUncut();
  for (const SafetensorsFile& file : files_) {
    if (absl::Status status = file.file().CheckUncut(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::Accept(const ExpectedTensor& expected) {
  const auto packed = FindPart(expected.name, tensor_names::kPacked), plain = tensors_.find(expected.name);
  if (packed != tensors_.end() && plain != tensors_.end()) {
    return InvalidTensor(packed->first, absl::StrFormat("expected it or %s, found both", Quoted(expected.name)));
  }
  if (packed != tensors_.end()) return AcceptInt4(expected, packed->second);
  Stored& stored = plain->second;
  if (absl::Status status = CheckWeightType(expected.name, expected.role, stored.dtype); !status.ok()) return status;
  if (absl::Status status = CheckShape(expected.name, expected.shape, stored.shape); !status.ok()) return status;
  if (stored.shape.size() == 2) {
    stored.lender =
        std::make_unique<LentMatrix>(std::vector{MappedValues{ValuesOf(expected.name, stored), stored.file}}, *reads_);
  } else {
    reads_->Count(stored.bytes.size());
    if (absl::Status status = ValuesOf(expected.name, stored).CheckFinite(); !status.ok()) return status;
  }
  return AcceptScales(expected.name, stored);
}

absl::Status Checkpoint::AcceptScales(const std::string& name, Stored& weight) {
  const std::string scale_name = name + tensor_names::kScales;
  const auto found = tensors_.find(scale_name);
  if (weight.dtype != "F8_E4M3") {
    if (found == tensors_.end()) return absl::OkStatus();
    return InvalidTensor(scale_name,
                         absl::StrFormat("expected beside an F8_E4M3 weight, found a weight of %s", weight.dtype));
  }
  if (found == tensors_.end()) return InvalidTensor(scale_name, "expected beside its F8_E4M3 weight, found none");

  Stored& scales = found->second;
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

uint64_t Checkpoint::Digest() const {
  if (packed_ != nullptr) return packed_->source_digest();
  uint64_t digest = kFingerprintSeed;
  for (const auto& [name, stored] : tensors_) {
    CHECK(stored.lender == nullptr || stored.lender->was_read());
    const uint64_t content = stored.lender != nullptr ? stored.lender->digest()
                             : stored.bytes.empty() || stored.lent_with_weight
                                 ? 0
                                 : SampledDigest(stored.bytes, stored.bytes.size(), 0, 1);
    digest =
        Fingerprint(absl::StrFormat("%s %s %s %016x\n", name, stored.dtype, ShapeText(stored.shape), content), digest);
  }
  return digest;
}

absl::Status Checkpoint::CheckTaken(const TensorNames& taken, MtpUse mtp) const {
  if (packed_ != nullptr) return packed_->CheckTaken(taken, mtp);
  for (const auto& [name, stored] : tensors_) {
    const bool is_taken = taken.contains(stored.inputs > 0 ? tensor_names::PackedWeightOf(name) : name);
    if (IsLoaded(stored.use, mtp) == is_taken) continue;
    return absl::InternalError(
        absl::StrFormat("%s: expected %s; report this", name,
                        is_taken ? "to be checked only, found it among the weights: the catalogue is outdated"
                                 : "among the weights, found it read and not used: LoadWeights forgot it"));
  }
  return absl::OkStatus();
}

bool Checkpoint::Has(std::string_view name) const {
  return packed_ != nullptr ? packed_->Has(name) : FindWeight(name) != tensors_.end();
}

bool Checkpoint::can_draft() const { return packed_ != nullptr ? packed_->can_draft() : num_mtp_layers_ > 0; }

bool Checkpoint::HaveSameBytes(std::string_view name, std::string_view other) const {
  if (packed_ != nullptr) return false;
  const MatrixSource a = Matrix(name), b = Matrix(other);
  if (a.dtype != b.dtype || a.outputs != b.outputs || a.inputs != b.inputs || a.dtype == DType::kInt4) return false;
  const size_t row_bytes = RowBytes(a.dtype, a.inputs);
  bool is_same = std::equal(a.scales.begin(), a.scales.end(), b.scales.begin(), b.scales.end());
  // To the last row: a reading does not break off.
  constexpr int kRows = 256;
  for (int first = 0; first < a.outputs; first += kRows) {
    const int count = std::min(kRows, a.outputs - first);
    for (const MatrixSource& matrix : {a, b}) matrix.lender->Lend(first, count);
    const size_t begin = static_cast<size_t>(first) * row_bytes, size = static_cast<size_t>(count) * row_bytes;
    is_same = is_same && std::equal(a.bytes + begin, a.bytes + begin + size, b.bytes + begin);
    for (const MatrixSource& matrix : {a, b}) matrix.lender->TakeBack(first, count);
  }
  return is_same;
}

MatrixSource Checkpoint::Matrix(std::string_view name) const {
  if (packed_ != nullptr) return packed_->Matrix(name);
  const auto found = FindWeight(name);
  CHECK(found != tensors_.end());
  const Stored& stored = found->second;
  CHECK_EQ(stored.shape.size(), 2u);
  const bool is_int4 = stored.inputs > 0;
  return {.dtype = is_int4 ? DType::kInt4 : *FindDType(stored.dtype),
          .outputs = static_cast<int>(stored.shape[0]),
          .inputs = static_cast<int>(is_int4 ? stored.inputs : stored.shape[1]),
          .bytes = stored.bytes.data(),
          .scales = stored.scales,
          .group_scales = stored.group_scales.data(),
          .lender = stored.lender.get(),
          .name = is_int4 ? tensor_names::PackedWeightOf(found->first) : std::string_view(found->first)};
}

std::vector<float> Checkpoint::Vector(std::string_view name) const {
  if (packed_ != nullptr) return packed_->Vector(name);
  const auto found = tensors_.find(name);
  CHECK(found != tensors_.end());
  const Stored& stored = found->second;
  CHECK_EQ(stored.shape.size(), 1u);
  return ValuesOf(found->first, stored).All();
}

}  // namespace latentd
