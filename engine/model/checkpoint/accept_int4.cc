// The part of Checkpoint that accepts an INT4 weight: nibbles, scales and shape (docs/spec/deepseek.md 4.6).
#include <cstring>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/tensor_names.h"

namespace latentd {
namespace {

constexpr int64_t kNibblesPerWord = 8;

// The integers of I64 or I32.
std::vector<int64_t> Integers(std::span<const std::byte> bytes, size_t size) {
  std::vector<int64_t> values(bytes.size() / size);
  for (size_t i = 0; i < values.size(); ++i) std::memcpy(&values[i], bytes.data() + i * size, size);
  return values;
}

}  // namespace

// Scales are checked as the rows are lent.
absl::Status Checkpoint::AcceptInt4(const ExpectedTensor& expected, Stored& weight) {
  const std::string name = expected.name + tensor_names::kPacked;
  if (!MayBeInt4(expected.role)) {
    return InvalidTensor(name,
                         absl::StrFormat("expected %s in BF16 or F32, found it packed as INT4", Quoted(expected.name)));
  }
  for (const auto& [end, what] : {std::pair(tensor_names::kZeroPoints, "zero points: it is asymmetric"),
                                  std::pair(tensor_names::kGroupIndex, "an order of its inputs (actorder)")}) {
    if (FindPart(expected.name, end) == tensors_.end()) continue;
    return InvalidTensor(expected.name + end,
                         absl::StrFormat("expected symmetric groups of inputs that follow each other, found %s, which "
                                         "is not supported; quantize the original with latent-convert",
                                         what));
  }
  if (weight.dtype != "I32") {
    return InvalidTensor(name, absl::StrFormat("expected I32, eight INT4 values a word, found %s", weight.dtype));
  }
  const int64_t outputs = expected.shape[0], inputs = expected.shape[1];
  const int64_t words = (inputs + kNibblesPerWord - 1) / kNibblesPerWord;
  if (absl::Status status = CheckShape(name, {outputs, words}, weight.shape); !status.ok()) return status;
  weight.inputs = inputs;
  if (absl::Status status = AcceptPackedShape(expected); !status.ok()) return status;
  return AcceptGroupScales(expected, weight);
}

absl::Status Checkpoint::AcceptPackedShape(const ExpectedTensor& expected) {
  const auto found = FindPart(expected.name, tensor_names::kPackedShape);
  if (found == tensors_.end()) return absl::OkStatus();  // config.json says it, too
  const Stored& stored = found->second;
  if (stored.dtype != "I64" && stored.dtype != "I32") {
    return InvalidTensor(found->first, absl::StrFormat("expected I64 or I32, found %s", stored.dtype));
  }
  if (absl::Status status = CheckShape(found->first, {2}, stored.shape); !status.ok()) return status;
  reads_->Count(stored.bytes.size());
  const std::vector<int64_t> sizes = Integers(stored.bytes, stored.dtype == "I64" ? 8 : 4);
  if (sizes == expected.shape) return absl::OkStatus();
  return InvalidTensor(found->first, absl::StrFormat("expected the sizes %s, found %s; does config.json belong to it?",
                                                     ShapeText(expected.shape), ShapeText(sizes)));
}

absl::Status Checkpoint::AcceptGroupScales(const ExpectedTensor& expected, Stored& weight) {
  const std::string name = expected.name + tensor_names::kGroupScales;
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return InvalidTensor(name, "expected beside its INT4 weight, found none");
  Stored& scales = found->second;
  if (scales.dtype != "BF16") return InvalidTensor(name, absl::StrFormat("expected BF16, found %s", scales.dtype));
  const std::vector<int64_t> shape = {expected.shape[0], (expected.shape[1] + kInt4Group - 1) / kInt4Group};
  if (scales.shape != shape) {
    return InvalidTensor(name, absl::StrFormat("expected the shape %s, a scale for %d inputs, found %s; other groups "
                                               "are not supported",
                                               ShapeText(shape), kInt4Group, ShapeText(scales.shape)));
  }
  const StoredValues nibbles = {.tensor = expected.name + tensor_names::kPacked,
                                .dtype = DType::kInt4,
                                .shape = expected.shape,
                                .bytes = weight.bytes};
  weight.lender = std::make_unique<LentMatrix>(
      std::vector{MappedValues{nibbles, weight.file}, MappedValues{ValuesOf(name, scales), scales.file}}, *reads_);
  weight.group_scales = scales.bytes;
  scales.lent_with_weight = true;
  return absl::OkStatus();
}

}  // namespace latentd
