#include "tools/convert/conversions.h"

#include <functional>
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

// The weights that are quantised.
TensorNames NamesToQuantize(const ModelConfig& config, const Quantization& quantization) {
  TensorNames names;
  const absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    const bool is_one =
        quantization.dtype == DType::kInt4 ? BecomesInt4(tensor, quantization.int4_tensors) : MayBeFp8(tensor.role);
    if (is_one) names.insert(tensor.name);
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
  ModelConfig config;
};

absl::StatusOr<Source> OpenSource(const std::filesystem::path& directory) {
  absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return config.status();
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
  if (!checkpoint.ok()) return checkpoint.status();
  if (absl::Status status = checkpoint->CheckUnread(0); !status.ok()) return status;
  absl::StatusOr<Shards> shards = OpenShards(directory);
  if (!shards.ok()) return shards.status();
  return Source{*std::move(checkpoint), *std::move(shards), *std::move(config)};
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

// The dtype of the tensors that are never quantised.
DType WideType(const Shards& shards) {
  DType dtype = DType::kBf16;
  shards.ForEach([&](const SafetensorsFile&, const SafetensorsEntry& entry) {
    if (entry.name == tensor_names::kEmbedding && entry.dtype == "F32") dtype = DType::kF32;
  });
  return dtype;
}

// Whether it is a part of an INT4 weight: words, scales or shape.
bool IsPartOfInt4(const Checkpoint& checkpoint, std::string_view name) {
  const std::string_view weight = tensor_names::PackedWeightOf(name);
  return !weight.empty() && checkpoint.Has(weight) && checkpoint.Matrix(weight).dtype == DType::kInt4;
}

// Tensors that a daemon would ignore are copied as they are.
bool IsUsed(const Checkpoint& checkpoint, std::string_view name) {
  if (IsPartOfInt4(checkpoint, name)) return true;
  if (name.ends_with(tensor_names::kScales)) name.remove_suffix(std::string_view(tensor_names::kScales).size());
  return checkpoint.Has(name);
}

absl::Status QuantizedAlready(const std::string& tensor, std::string_view type) {
  return WrongType(tensor, "BF16 or F32",
                   absl::StrFormat("%s: it is quantised already; dequantize the checkpoint first", type));
}

absl::StatusOr<Plan> PlanQuantization(const Source& source, const Quantization& quantization) {
  const TensorNames names = NamesToQuantize(source.config, quantization);
  if (names.empty()) {
    return absl::InvalidArgumentError(
        "expected routed experts, which become INT4, found none; use --tensors projections");
  }
  Plan plan;
  const absl::Status status = ForEachStored(source.shards, [&](const SafetensorsEntry& entry, PlannedTensor copy) {
    if (IsPartOfInt4(source.checkpoint, entry.name)) return QuantizedAlready(entry.name, "INT4");
    if (entry.dtype == "F8_E4M3" && IsUsed(source.checkpoint, entry.name))
      return QuantizedAlready(entry.name, "F8_E4M3");
    if (!names.contains(entry.name) || !IsUsed(source.checkpoint, entry.name)) {
      plan.push_back(std::move(copy));
      return absl::OkStatus();
    }
    const ValueRows rows = RowsOf(source.checkpoint.Matrix(entry.name));
    for (PlannedTensor& tensor : quantization.dtype == DType::kInt4
                                     ? PlanInt4(entry.name, rows, quantization.int4_scales)
                                     : PlanQuantized(entry.name, rows, quantization.scale_format)) {
      plan.push_back(std::move(tensor));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return plan;
}

}  // namespace

absl::Status Quantize(const Route& route, const Quantization& quantization) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(route.to, route.existing, route.from);
  if (!output.ok()) return output.status();
  const absl::StatusOr<Source> source = OpenSource(route.from);
  if (!source.ok()) return source.status();
  const absl::StatusOr<Plan> plan = PlanQuantization(*source, quantization);
  if (!plan.ok()) return plan.status();
  return Fill(*output, route.from, {.tensors = *plan, .edit_config = [&](const std::filesystem::path& config_json) {
                                      const DType others = WideType(source->shards);
                                      return quantization.dtype == DType::kInt4
                                                 ? DeclareInt4(config_json, quantization.int4_tensors, others)
                                                 : DeclareFp8(config_json, quantization.scale_format, others);
                                    }});
}

absl::Status Dequantize(const Route& route) {
  absl::StatusOr<OutputDirectory> output = OutputDirectory::Create(route.to, route.existing, route.from);
  if (!output.ok()) return output.status();
  const absl::StatusOr<Source> source = OpenSource(route.from);
  if (!source.ok()) return source.status();
  const Checkpoint& checkpoint = source->checkpoint;
  Plan plan;
  bool found_one = false;
  const absl::Status status = ForEachStored(source->shards, [&](const SafetensorsEntry& entry, PlannedTensor copy) {
    const bool is_int4 = IsPartOfInt4(checkpoint, entry.name), is_used = IsUsed(checkpoint, entry.name);
    const bool is_weight = is_int4 ? entry.name.ends_with(tensor_names::kPacked) : entry.dtype == "F8_E4M3";
    if (is_used && is_weight) {
      const std::string name(is_int4 ? tensor_names::PackedWeightOf(entry.name) : entry.name);
      found_one = true;
      plan.push_back(PlanValues(name, DType::kBf16, RowsOf(checkpoint.Matrix(name))));
    } else if (!is_used || !(is_int4 || tensor_names::IsScales(entry.name))) {
      plan.push_back(std::move(copy));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  if (!found_one) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected F8_E4M3 or INT4 weights, found none; it needs no dequantizing", Quoted(route.from.string())));
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
