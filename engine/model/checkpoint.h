// The tensors of a checkpoint directory, mapped and checked against the configuration: what Open accepts has every
// tensor of the model in its exact shape, every value finite and every FP8 scale beside its weight. Immutable; any
// thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/model_config.h"
#include "engine/model/safetensors.h"
#include "engine/model/tensor_catalog.h"
#include "kernels/tensor.h"

namespace latentd {

class Checkpoint {
 public:
  // Reads every value once. An error is one line with the tensor's name.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& directory, const ModelConfig& config);
  // Why Open would refuse, one line each: the first kMaxProblems. Empty: it accepts.
  static std::vector<absl::Status> FindProblems(const std::filesystem::path& directory, const ModelConfig& config);
  static constexpr size_t kMaxProblems = 1000;  // a wrong config.json can ask for millions of tensors

  bool Has(std::string_view name) const { return tensors_.contains(name); }
  // A two-dimensional tensor, which must be there; valid as long as the checkpoint.
  MatrixSource Matrix(std::string_view name) const;
  // A one-dimensional tensor, which must be there, in fp32.
  std::vector<float> Vector(std::string_view name) const;

  uint64_t tensor_bytes() const { return tensor_bytes_; }  // scales included
  // Of every tensor's name, dtype, shape and some of its bytes: at most 256 words of 8, evenly spaced.
  uint64_t digest() const { return digest_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Stored {
    std::string_view dtype;
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;
    std::vector<float> scales;  // of an FP8 weight
    bool expected = false;
  };
  using Tensors = std::map<std::string, Stored, std::less<>>;

  static absl::StatusOr<Checkpoint> Map(const std::filesystem::path& directory);
  absl::Status Accept(const ExpectedTensor& expected);
  absl::Status AcceptScales(const std::string& name, Stored& weight);
  absl::Status CheckAllExpected() const;
  uint64_t ComputeDigest() const;

  std::vector<SafetensorsFile> files_;
  Tensors tensors_;
  uint64_t tensor_bytes_ = 0;
  uint64_t digest_ = 0;
  int64_t num_uneven_scales_ = 0;  // not powers of two
  std::vector<std::string> warnings_;
};

}  // namespace latentd
