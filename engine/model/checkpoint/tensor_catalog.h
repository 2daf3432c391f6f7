// The tensors that a checkpoint of a given configuration consists of: names, shapes, roles and uses
// (docs/spec/deepseek.md 2.1).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "engine/model/config/model_config.h"

namespace latentd {

enum class TensorRole : uint8_t {
  kProjection,  // a linear layer that may be block-scaled FP8, or INT4
  kKeyValueUp,  // one that may be FP8, whose inputs are never quantised
  kEmbedding,   // a row for each token
  kRoutingBias,
  kWide,  // everything else; bf16 or fp32 (docs/spec/deepseek.md 4.5)
};

constexpr bool MayBeFp8(TensorRole role) { return role == TensorRole::kProjection || role == TensorRole::kKeyValueUp; }
// W_UK is multiplied across its rows, where an INT4 group's scale is no common factor.
constexpr bool MayBeInt4(TensorRole role) { return role == TensorRole::kProjection; }

enum class TensorUse : uint8_t {
  kLoaded,    // LoadWeights takes it: one that it forgets is an error
  kDrafting,  // the same where drafts are wanted: of the first layer that predicts further tokens
  kChecked,   // its values are checked, and nothing computes with it yet, or another tensor stands for it
};

// What is done with the layers that predict further tokens.
enum class MtpUse : uint8_t {
  kNone,   // they are checked
  kDraft,  // the first is computed, again and again for drafts further ahead; others are checked
};
constexpr bool IsLoaded(TensorUse use, MtpUse mtp) {
  return use == TensorUse::kLoaded || (use == TensorUse::kDrafting && mtp == MtpUse::kDraft);
}

struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;  // [outputs, inputs] or [width]
  TensorRole role = TensorRole::kWide;
  std::string copy_of = {};  // the tensor that it repeats: some checkpoints leave it out; empty: none
  TensorUse use = TensorUse::kLoaded;
  int mtp_layer = -1;  // which of the layers that predict further tokens it belongs to, from 0; -1: to none

  bool is_copy() const { return !copy_of.empty(); }
};

// Visits one tensor after the other, a quantised one by its weight's name and without its scales, and keeps none: a
// configuration that names a million of them costs nothing before the first absent one ends the walk with the visitor's
// error.
absl::Status ForEachExpectedTensor(const ModelConfig& config,
                                   const std::function<absl::Status(const ExpectedTensor&)>& visit);

}  // namespace latentd
