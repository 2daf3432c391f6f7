// The tensors of a checkpoint directory, mapped and checked against the configuration: what Open accepts has every
// tensor of the model in its exact shape and all scales beside their weights; layers that predict further tokens may
// be absent, and tensors that nothing uses are left aside, both with a warning. The values of matrices are checked as
// they are read, since reading them takes most of a start. Any thread.
//
// A directory with a packed file (packed_file.h) is a checkpoint, too: its matrices are for the CPU backend only, were
// checked when they were packed, and are views of a mapping that is to outlive what is loaded of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/checkpoint/lent_matrix.h"
#include "engine/model/checkpoint/safetensors.h"
#include "engine/model/checkpoint/stored_values.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "kernels/tensor.h"

namespace latentd {

class PackedFile;
class ThreadPool;

using TensorNames = std::set<std::string, std::less<>>;

class Checkpoint {
 public:
  // An error is one line with the tensor's name. `on_read` hears of every byte of a tensor that is read, once.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& directory, const ModelConfig& config,
                                         OnRead on_read = nullptr);
  // Everything that is wrong, values included, one line each: the first kMaxProblems. Empty: it can be served.
  static std::vector<absl::Status> FindProblems(const std::filesystem::path& directory, const ModelConfig& config);
  static constexpr size_t kMaxProblems = 1000;  // a wrong config.json can ask for millions of tensors

  // Weights go by their name, whatever the tensors are called that they are quantised to.
  bool Has(std::string_view name) const;
  // A two-dimensional tensor, which must be there; valid as long as the checkpoint. A caller that packs it borrows its
  // rows, and then asks for ReadStatus.
  MatrixSource Matrix(std::string_view name) const;
  // Whether two matrices, which must be there, are one and the same. Reads both. A packed checkpoint has no copies.
  bool HaveSameBytes(std::string_view name, std::string_view other) const;
  // A one-dimensional tensor, which must be there, in fp32.
  std::vector<float> Vector(std::string_view name) const;

  // The first fault in the bytes read so far: a value that is not finite, or a file that was cut meanwhile.
  absl::Status ReadStatus() const;
  // INTERNAL with the name of the first tensor that is among `taken` and not to be loaded, or the reverse.
  absl::Status CheckTaken(const TensorNames& taken, MtpUse mtp) const;
  // Reads and checks all tensors that were not packed, on so many threads (0: as many as the machine grants);
  // brings what was taken of a packed file into memory.
  absl::Status CheckUnread(int num_threads) const;
  // Null unless the checkpoint is packed.
  std::shared_ptr<const MappedFile> packed_file() const;

  uint64_t tensor_bytes() const { return tensor_bytes_; }  // scales included
  int num_mtp_layers() const { return num_mtp_layers_; }   // at most the configuration's
  // Whether the first of them can be computed: some packed checkpoints have none of its tensors.
  bool can_draft() const;
  // A digest of every tensor's name, dtype, shape and some of its bytes; call it once all of them were read.
  uint64_t Digest() const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Stored {
    std::string_view dtype;
    std::vector<int64_t> shape;
    const MappedFile* file = nullptr;
    std::span<const std::byte> bytes;
    std::vector<float> scales;                // of an FP8 weight
    std::span<const std::byte> group_scales;  // of an INT4 weight
    int64_t inputs = 0;                       // of an INT4 weight, whose shape counts words
    std::unique_ptr<LentMatrix> lender;       // of a matrix
    bool lent_with_weight = false;            // group scales are: their weight's digest has them
    bool expected = false;
    TensorUse use = TensorUse::kChecked;  // of scales: their weight has it
  };
  using Tensors = std::map<std::string, Stored, std::less<>>;

  // Called with each thing that is wrong; what it returns ends the search unless it is OK.
  using OnProblem = std::function<absl::Status(const absl::Status&)>;

  static absl::StatusOr<Checkpoint> Map(const std::filesystem::path& directory);
  // Finds what `config` asks for and leaves the rest aside.
  absl::Status Select(const ModelConfig& config, const OnProblem& on_problem, OnRead on_read);
  absl::Status MarkExpected(const ModelConfig& config, const OnProblem& on_problem);
  // Marks the tensors that the weight consists of; whether there is any.
  bool MarkWeight(const ExpectedTensor& expected);
  absl::Status Absent(const ExpectedTensor& expected, const ModelConfig& config) const;
  absl::Status LeaveUnusedAside(const ModelConfig& config, const OnProblem& on_problem);
  // The tensor of that name, or the nibbles of the INT4 weight of that name.
  Tensors::const_iterator FindWeight(std::string_view name) const;
  Tensors::iterator FindPart(std::string_view weight, const char* end);
  static StoredValues ValuesOf(const std::string& name, const Stored& stored);
  absl::Status Accept(const ExpectedTensor& expected);
  absl::Status AcceptScales(const std::string& name, Stored& weight);
  absl::Status AcceptInt4(const ExpectedTensor& expected, Stored& weight);
  absl::Status AcceptGroupScales(const ExpectedTensor& expected, Stored& weight);
  absl::Status AcceptPackedShape(const ExpectedTensor& expected);
  absl::Status CheckValues(std::string_view name, ThreadPool& pool) const;
  absl::Status CheckUncut() const;
  // The same checkpoint in a packed file.
  static absl::StatusOr<Checkpoint> OpenPacked(const std::filesystem::path& directory, const ModelConfig& config,
                                               OnRead on_read);

  std::filesystem::path directory_;
  std::shared_ptr<PackedFile> packed_;  // null: the tensors are in `files_`
  std::vector<SafetensorsFile> files_;
  std::unique_ptr<ReadRecord> reads_;
  Tensors tensors_;
  std::map<std::string, std::string, std::less<>> absent_;  // see Shards
  uint64_t tensor_bytes_ = 0;
  int num_mtp_layers_ = 0;
  int64_t num_uneven_scales_ = 0;  // not powers of two
  std::vector<std::string> warnings_;
};

}  // namespace latentd
