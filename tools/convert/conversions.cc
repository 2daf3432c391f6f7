#include "tools/convert/conversions.h"

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/shards.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/checkpoint/tensor_names.h"
#include "engine/model/config/model_config.h"
#include "tools/convert/checkpoint_writer.h"
#include "tools/convert/config_json.h"

namespace latentd {
namespace {

using Plan = std::vector<PlannedTensor>;

std::set<std::string, std::less<>> ProjectionNames(const ModelConfig& config) {
  std::set<std::string, std::less<>> names;
  const absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    if (MayBeFp8(tensor.role)) names.insert(tensor.name);
    return absl::OkStatus();
  });
  return names;
}

absl::Status WrongType(const std::string& tensor, std::string_view expected, std::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrFormat("tensor %s: expected %s, found %s", Quoted(tensor), expected, found));
}

// The contents of an output directory, beside the copied files.
struct Contents {
  const Plan& tensors;
  uint64_t max_shard_bytes = kDefaultShardBytes;
  std::function<absl::Status(const std::filesystem::path& config_json)> edit_config;
};

absl::Status Fill(OutputDirectory& output, const std::filesystem::path& from, const Contents& contents) {
  absl::Status status = CopyOtherFiles(from, output.path());
  if (status.ok() && contents.edit_config) status = contents.edit_config(output.path() / "config.json");
  if (status.ok()) status = WriteTensors(output.path(), contents.tensors, contents.max_shard_bytes);
  return status.ok() ? output.Commit() : status;
}

// A checkpoint that the daemon would accept, and its tensors in the order of its files.
struct Source {
  Checkpoint checkpoint;
  Shards shards;
  std::set<std::string, std::less<>> projections;
};

absl::StatusOr<Source> OpenSource(const std::filesystem::path& directory) {
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return config.status();
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  if (!checkpoint.ok()) return checkpoint.status();
  if (absl::Status status = checkpoint->CheckUnread(0); !status.ok()) return status;
  absl::StatusOr<Shards> shards = OpenShards(directory);
  if (!shards.ok()) return shards.status();
  return Source{*std::move(checkpoint), *std::move(shards), ProjectionNames(*config)};
}

absl::Status ForEachStored(const Shards& shards,
                           const std::function<absl::Status(const SafetensorsEntry&, PlannedTensor)>& visit) {
  absl::Status status;
  shards.ForEach([&](const SafetensorsFile& file, const SafetensorsEntry& entry) {
    if (!status.ok()) return;
    status = visit(entry, PlanCopy(entry.name, entry.dtype, entry.shape, file.BytesOf(entry)));
  });
  return status;
}

// The dtype of the tensors that are never FP8.
DType WideType(const Shards& shards) {
  DType dtype = DType::kBf16;
  shards.ForEach([&](const SafetensorsFile&, const SafetensorsEntry& entry) {
    if (entry.name == tensor_names::kEmbedding && entry.dtype == "F32") dtype = DType::kF32;
  });
  return dtype;
}

// Tensors that a daemon would ignore are copied as they are.
bool IsUsed(const Checkpoint& checkpoint, std::string_view name) {
  if (tensor_names::IsScales(name)) name.remove_suffix(std::string_view(tensor_names::kScales).size());
  return checkpoint.Has(name);
}

}  // namespace

absl::Status Quantize(const Route& route, ScaleFormat format) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(route.to, route.existing, route.from);
  if (!output.ok()) return output.status();
  const absl::StatusOr<Source> source = OpenSource(route.from);
  if (!source.ok()) return source.status();
  Plan plan;
  const absl::Status status = ForEachStored(source->shards, [&](const SafetensorsEntry& entry, PlannedTensor copy) {
    if (!source->projections.contains(entry.name) || !IsUsed(source->checkpoint, entry.name)) {
      plan.push_back(std::move(copy));
      return absl::OkStatus();
    }
    if (entry.dtype == "F8_E4M3") {
      return WrongType(entry.name, "BF16 or F32", "F8_E4M3: it is quantised already; dequantize the checkpoint first");
    }
    for (PlannedTensor& tensor : PlanQuantized(entry.name, RowsOf(source->checkpoint.Matrix(entry.name)), format)) {
      plan.push_back(std::move(tensor));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return Fill(*output, route.from, {.tensors = plan, .edit_config = [&](const std::filesystem::path& config_json) {
                                      return DeclareFp8(config_json, format, WideType(source->shards));
                                    }});
}

absl::Status Dequantize(const Route& route) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(route.to, route.existing, route.from);
  if (!output.ok()) return output.status();
  const absl::StatusOr<Source> source = OpenSource(route.from);
  if (!source.ok()) return source.status();
  Plan plan;
  bool found_fp8 = false;
  const absl::Status status = ForEachStored(source->shards, [&](const SafetensorsEntry& entry, PlannedTensor copy) {
    const bool is_used = IsUsed(source->checkpoint, entry.name);
    if (is_used && tensor_names::IsScales(entry.name)) return absl::OkStatus();
    if (!is_used || entry.dtype != "F8_E4M3") {
      plan.push_back(std::move(copy));
      return absl::OkStatus();
    }
    found_fp8 = true;
    plan.push_back(PlanValues(entry.name, DType::kBf16, RowsOf(source->checkpoint.Matrix(entry.name))));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (!found_fp8) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected F8_E4M3 weights, found none; it needs no dequantizing", Quoted(route.from.string())));
  }
  return Fill(*output, route.from, {.tensors = plan, .edit_config = [](const std::filesystem::path& config_json) {
                                      return DeclareUnquantized(config_json, DType::kBf16);
                                    }});
}

absl::Status Reshard(const Route& route, uint64_t max_shard_bytes) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(route.to, route.existing, route.from);
  if (!output.ok()) return output.status();
  const absl::StatusOr<Shards> shards = OpenShards(route.from);
  if (!shards.ok()) return shards.status();
  if (!shards->absent.empty()) {
    const auto& [tensor, file] = *shards->absent.begin();
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected every tensor of the index, found not %s in %s; fetch that file",
                        Quoted(route.from.string()), Quoted(tensor), Quoted(file)));
  }
  Plan plan;
  const absl::Status status = ForEachStored(*shards, [&](const SafetensorsEntry&, PlannedTensor copy) {
    plan.push_back(std::move(copy));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return Fill(*output, route.from,
              {.tensors = plan,
               .max_shard_bytes = max_shard_bytes,
               .edit_config = [&](const std::filesystem::path& config_json) {
                 return CorrectType(config_json, WideType(*shards));
               }});
}

}  // namespace latentd
