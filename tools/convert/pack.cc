#include "tools/convert/pack.h"

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "base/processors.h"
#include "base/quoting.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/packed_file.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/weights.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/forwarding_device.h"
#include "tools/convert/checkpoint_writer.h"
#include "tools/convert/packed_writer.h"

namespace latentd {
namespace {

using Buffers = std::vector<std::span<const std::byte>>;

// Main memory that remembers which buffers it gave out since it was asked last.
class RecordingDevice final : public ForwardingDevice {
 public:
  using ForwardingDevice::ForwardingDevice;

  Buffers TakeRecord() { return std::exchange(record_, {}); }

  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override {
    absl::StatusOr<DeviceBuffer> buffer = ForwardingDevice::Allocate(bytes);
    if (buffer.ok()) record_.emplace_back(buffer->As<std::byte>(), bytes);
    return buffer;
  }

 private:
  Buffers record_;
};

// Packs a checkpoint's tensors one at a time, so that memory holds the largest and not all of them.
class TensorPacker {
 public:
  TensorPacker(const Checkpoint& checkpoint, const ModelConfig& config, PackedWriter& writer)
      : checkpoint_(checkpoint), config_(config), writer_(writer), ops_(device_, cpu::FindComputeThreads().count) {}

  absl::Status Pack(const ExpectedTensor& tensor) {
    if (!IsLoaded(tensor)) return absl::OkStatus();
    if (tensor.shape.size() == 1) return PackVector(tensor);
    const MatrixSource source = checkpoint_.Matrix(tensor.name);
    const std::vector<Packed> packed = PackMatrix(tensor, source);
    for (const Packed& matrix : packed) {
      if (!matrix.ok()) return matrix.status();
    }
    const absl::Status status = writer_.Add({.name = tensor.name, .dtype = source.dtype, .shape = tensor.shape},
                                            device_.TakeRecord(), source.scales);
    return status.ok() ? checkpoint_.ReadStatus() : status;
  }

 private:
  using Packed = absl::StatusOr<std::unique_ptr<const Matrix>>;

  // As LoadWeights does it: what drafts along, and copies of other tensors only where they are none.
  bool IsLoaded(const ExpectedTensor& tensor) const {
    if (!latentd::IsLoaded(tensor.use, checkpoint_.can_draft() ? MtpUse::kDraft : MtpUse::kNone)) return false;
    if (!tensor.is_copy()) return true;
    return checkpoint_.Has(tensor.name) && !checkpoint_.HaveSameBytes(tensor.name, tensor.copy_of);
  }

  // By the verbs that LoadWeights calls, in its order; those of experts pack each matrix as PackLinear does.
  std::vector<Packed> PackMatrix(const ExpectedTensor& tensor, const MatrixSource& source) {
    std::vector<Packed> packed;
    if (tensor.role == TensorRole::kKeyValueUp) {
      packed.push_back(ops_.PackKeyValueUp(source, config_.attention));
    } else if (tensor.role == TensorRole::kEmbedding) {
      packed.push_back(ops_.PackTable(source));
      const bool is_head = config_.tied_embedding && tensor.mtp_layer < 0;
      if (is_head) packed.push_back(ops_.PackLinear(source));
    } else {
      packed.push_back(ops_.PackLinear(source));
    }
    return packed;
  }

  absl::Status PackVector(const ExpectedTensor& tensor) {
    const std::vector<float> values = checkpoint_.Vector(tensor.name);
    const Buffers buffers = {std::as_bytes(std::span(values))};
    return writer_.Add({.name = tensor.name, .dtype = DType::kF32, .shape = tensor.shape}, buffers, {});
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  PackedWriter& writer_;
  cpu::CpuDevice memory_;
  RecordingDevice device_{memory_};
  cpu::CpuOps ops_;
};

absl::StatusOr<uint64_t> PackTo(const std::filesystem::path& file, const Checkpoint& checkpoint,
                                const ModelConfig& config) {
  absl::StatusOr<PackedWriter> writer = PackedWriter::Create(file);
  if (!writer.ok()) return writer.status();
  TensorPacker packer(checkpoint, config, *writer);
  absl::Status status =
      ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) { return packer.Pack(tensor); });
  if (status.ok()) status = checkpoint.CheckUnread(0);  // the source's digest has those, too
  if (!status.ok()) return status;
  return std::move(*writer).Finish({.config_digest = config.digest,
                                    .source_digest = checkpoint.Digest(),
                                    .num_mtp_layers = checkpoint.num_mtp_layers(),
                                    .tensors = {}});
}

}  // namespace

absl::StatusOr<uint64_t> Pack(const Route& route) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(route.to, route.existing, route.from);
  if (!output.ok()) return output.status();
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(route.from);
  if (!config.ok()) return config.status();
  if (absl::Status status = CheckComputable(*config); !status.ok()) return status;
  const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(route.from, *config);
  if (!checkpoint.ok()) return checkpoint.status();
  if (checkpoint->packed_file() != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected weights to pack, found them packed already; name the directory that it was "
                        "packed from",
                        Quoted(route.from.string())));
  }
  if (absl::Status status = CopyOtherFiles(route.from, output->path()); !status.ok()) return status;
  absl::StatusOr<uint64_t> bytes = PackTo(output->path() / kPackedFileName, *checkpoint, *config);
  if (!bytes.ok()) return bytes;
  if (absl::Status status = output->Commit(); !status.ok()) return status;
  return bytes;
}

}  // namespace latentd
