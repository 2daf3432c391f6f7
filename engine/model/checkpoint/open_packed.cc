// The part of Checkpoint whose weights lie in a packed file (docs/converting.md).
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/model_files.h"
#include "engine/model/checkpoint/packed_file.h"

namespace latentd {

absl::StatusOr<Checkpoint> Checkpoint::OpenPacked(const std::filesystem::path& directory, const ModelConfig& config,
                                                  OnRead on_read) {
  if (const std::optional<std::string> other = FindTraceOfWeights(directory)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected %s or the weights that it was packed from, found %s beside it; remove one of them",
        Quoted(directory.string()), kPackedFileName, Quoted(*other)));
  }
  absl::StatusOr<PackedFile> file = PackedFile::Open(directory / kPackedFileName);
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Accept(config); !status.ok()) return status;
  Checkpoint checkpoint;
  checkpoint.directory_ = directory;
  checkpoint.packed_ = std::make_shared<PackedFile>(*std::move(file));
  checkpoint.tensor_bytes_ = checkpoint.packed_->tensor_bytes();
  checkpoint.num_mtp_layers_ = checkpoint.packed_->num_mtp_layers();
  checkpoint.reads_ = std::make_unique<ReadRecord>(checkpoint.tensor_bytes_, std::move(on_read));
  return checkpoint;
}

std::shared_ptr<const MappedFile> Checkpoint::packed_file() const {
  return packed_ != nullptr ? packed_->file() : nullptr;
}

}  // namespace latentd
