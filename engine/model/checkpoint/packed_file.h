// The weights of a checkpoint in the CPU backend's own layout, as latent-convert pack wrote them: a file that is mapped
// and served as it is (docs/converting.md has the format, and what is trusted). Header and index are checked as it is
// opened; the weights are read by FindDamage only. Engine thread, but for what only reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "base/mapped_file.h"
#include "engine/model/checkpoint/packed_index.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "kernels/packed_bytes.h"
#include "kernels/tensor.h"

namespace latentd {

class ThreadPool;

inline constexpr char kPackedFileName[] = "model.latentpack";

// The first bytes of the file, little-endian. They are written last: a file that was not finished has none.
struct PackedHeader {
  static constexpr char kMagic[8] = {'l', 'a', 't', 'e', 'n', 't', 'p', 'k'};
  static constexpr uint32_t kFormat = 1;

  char magic[8] = {};
  uint32_t format = 0;
  uint32_t layout = 0;  // kPackedLayout
  uint64_t index_begin = 0;
  uint64_t file_bytes = 0;  // the index ends where the file does
  uint64_t index_digest = 0;
};
static_assert(sizeof(PackedHeader) == 40);

// Tells whether bytes changed by accident, 8 of them at a time.
uint64_t PackedDigest(std::span<const std::byte> bytes);

bool HasPackedFile(const std::filesystem::path& directory);

class PackedFile {
 public:
  // NOT_FOUND where there is none. `path` is the file's.
  static absl::StatusOr<PackedFile> Open(const std::filesystem::path& path);
  // Checks, once, that it was packed from a checkpoint with this config.json, and has its tensors, in types that they
  // may have, and notes what each is for.
  absl::Status Accept(const ModelConfig& config);

  bool Has(std::string_view name) const { return tensors_.contains(name); }
  // As Checkpoint's; the source's lender is a PackedBytes.
  MatrixSource Matrix(std::string_view name) const;
  std::vector<float> Vector(std::string_view name) const;
  void ForEach(const std::function<void(const PackedTensor&)>& visit) const;
  // After packing: that every tensor to be loaded was, and every matrix's bytes to the last. They may be packed again.
  absl::Status CheckTaken(const std::set<std::string, std::less<>>& taken, MtpUse mtp) const;

  // Brings the pages of what was taken into memory, as far as the machine has room for them, and tells how many bytes
  // that were; what nothing took counts as there.
  void BringIn(ThreadPool& pool, const std::function<void(uint64_t num_bytes)>& on_read) const;
  // Tensors whose bytes are not those that were written, one line each.
  std::vector<absl::Status> FindDamage(ThreadPool& pool) const;

  uint64_t source_digest() const { return index_.source_digest; }  // Checkpoint::Digest of what was packed
  int num_mtp_layers() const { return index_.num_mtp_layers; }
  // Whether it has the tensors that drafting takes: what earlier versions packed has none of them.
  bool can_draft() const { return can_draft_; }
  uint64_t tensor_bytes() const { return tensor_bytes_; }
  // Outlives what is packed of it, if that keeps it.
  const std::shared_ptr<const MappedFile>& file() const { return file_; }

 private:
  struct Tensor {
    PackedTensor facts;
    std::unique_ptr<PackedBytes> packed;  // of a matrix
    TensorUse use = TensorUse::kChecked;  // until Accept
  };

  std::span<const std::byte> BytesOf(const Tensor& tensor) const {
    return file_->bytes().subspan(tensor.facts.begin, tensor.facts.end - tensor.facts.begin);
  }
  const Tensor& At(std::string_view name) const;
  std::span<const float> FloatsAt(uint64_t begin, uint64_t end) const;
  absl::Status Add(PackedTensor facts, uint64_t end_of_tensors);
  absl::Status AcceptTensors(const ModelConfig& config);

  std::shared_ptr<const MappedFile> file_;
  std::filesystem::path path_;
  PackedIndex index_;  // but for its tensors
  uint64_t tensor_bytes_ = 0;
  bool can_draft_ = false;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace latentd
