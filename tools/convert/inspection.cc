#include "tools/convert/inspection.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "base/available_memory.h"
#include "engine/model/checkpoint/packed_file.h"
#include "engine/model/checkpoint/shards.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/checkpoint/tensor_names.h"
#include "engine/model/config/model_config.h"
#include "engine/model/latent_cache.h"

namespace latentd {
namespace {

using Json = nlohmann::ordered_json;

// Whether its layer is one of those behind the last, which predict further tokens.
bool IsMtp(std::string_view name, const ModelConfig& config) {
  return tensor_names::LayerOf(name).value_or(0) >= config.num_layers;
}

std::string_view KindOf(std::string_view name, const ModelConfig& config) {
  return IsMtp(name, config) ? "mtp layers" : tensor_names::KindOf(name);
}

Json ConfigFacts(const ModelConfig& config) {
  int moe_layers = 0;
  for (int layer = 0; layer < config.num_layers; ++layer) moe_layers += config.IsMoe(layer) ? 1 : 0;
  return {{"architecture", config.architecture},
          {"model_type", config.model_type},
          {"layers", config.num_layers},
          {"moe_layers", moe_layers},
          {"mtp_layers", config.num_mtp_layers},
          {"hidden_size", config.hidden_size},
          {"heads", config.attention.num_heads},
          {"latent_width", config.attention.latent_width},
          {"rope_width", config.attention.rope_width},
          {"experts", config.routing.num_experts},
          {"experts_per_token", config.routing.experts_per_token},
          {"vocab_size", config.vocab_size},
          {"max_context_tokens", config.max_context}};
}

// A tied head counts once; copies in MTP layers never.
Json Parameters(const ModelConfig& config) {
  int64_t total = 0;
  int64_t routed = 0;
  int64_t mtp = 0;
  const absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    int64_t count = tensor.is_copy() ? 0 : 1;
    for (const int64_t size : tensor.shape) count *= size;
    if (IsMtp(tensor.name, config)) {
      mtp += count;
      return absl::OkStatus();
    }
    total += count;
    if (tensor_names::IsRoutedExpert(tensor.name)) routed += count;
    return absl::OkStatus();
  });
  const RoutingRule& routing = config.routing;
  const int64_t used = routed == 0 ? 0 : routed / routing.num_experts * routing.experts_per_token;
  return {{"total", total}, {"active_per_token", total - routed + used}, {"mtp_layers", mtp}};
}

struct Amount {
  int64_t tensors = 0;
  uint64_t bytes = 0;
};

// The weights of a directory, by kind and type.
struct Contents {
  std::map<std::pair<std::string_view, std::string>, Amount> amounts;
  std::set<std::string, std::less<>> names;
  size_t files = 0;
  uint64_t bytes = 0;
  uint64_t drafting_bytes = 0;  // of the first layer that predicts further tokens

  void Count(std::string_view name, std::string_view dtype, uint64_t num_bytes, const ModelConfig& config) {
    Amount& amount = amounts[{KindOf(name, config), std::string(dtype)}];
    ++amount.tensors;
    amount.bytes += num_bytes;
    bytes += num_bytes;
    if (tensor_names::LayerOf(name) == config.num_layers) drafting_bytes += num_bytes;
    names.emplace(name);
  }
  bool Has(const std::string& weight) const {
    return names.contains(weight) || names.contains(weight + tensor_names::kPacked);
  }
};

absl::StatusOr<Contents> PackedContents(const std::filesystem::path& directory, const ModelConfig& config) {
  absl::StatusOr<PackedFile> file = PackedFile::Open(directory / kPackedFileName);
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Accept(config); !status.ok()) return status;
  Contents contents = {.amounts = {}, .names = {}, .files = 1};
  file->ForEach([&](const PackedTensor& tensor) {
    contents.Count(tensor.name, PackedTypeName(tensor.dtype), tensor.end - tensor.begin, config);
  });
  return contents;
}

absl::StatusOr<Contents> ContentsOf(const std::filesystem::path& directory, const ModelConfig& config) {
  if (HasPackedFile(directory)) return PackedContents(directory, config);
  const absl::StatusOr<Shards> shards = OpenShards(directory);
  if (!shards.ok()) return shards.status();
  Contents contents = {.amounts = {}, .names = {}, .files = shards->files.size()};
  shards->ForEach([&](const SafetensorsFile&, const SafetensorsEntry& entry) {
    const bool is_int4 = entry.dtype == "I32" && entry.name.ends_with(tensor_names::kPacked);
    contents.Count(entry.name, is_int4 ? "INT4" : entry.dtype, entry.end - entry.begin, config);
  });
  return contents;
}

Json TensorFacts(const Contents& contents) {
  Json kinds = Json::array();
  for (const auto& [key, amount] : contents.amounts) {
    kinds.push_back({{"kind", key.first}, {"dtype", key.second}, {"tensors", amount.tensors}, {"bytes", amount.bytes}});
  }
  return kinds;
}

// The layer that drafts: its weights, without copies, and whether all of them are there.
struct Drafting {
  int64_t parameters = 0;
  bool is_whole = false;

  MtpUse mtp() const { return is_whole ? MtpUse::kDraft : MtpUse::kNone; }
};

Drafting DraftingOf(const Contents& contents, const ModelConfig& config) {
  Drafting drafting = {.parameters = 0, .is_whole = config.num_mtp_layers > 0};
  const absl::Status status = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    if (tensor.use != TensorUse::kDrafting || tensor.is_copy()) return absl::OkStatus();
    int64_t count = 1;
    for (const int64_t size : tensor.shape) count *= size;
    drafting.parameters += count;
    drafting.is_whole = drafting.is_whole && contents.Has(tensor.name);
    return absl::OkStatus();
  });
  return drafting;
}

Json DraftingFacts(const Drafting& drafting, const Contents& contents, const ModelConfig& config) {
  Json facts = {
      {"possible", drafting.is_whole}, {"parameters", drafting.parameters}, {"weight_bytes", contents.drafting_bytes}};
  if (!drafting.is_whole) {
    facts["reason"] = config.num_mtp_layers == 0 ? "config.json names no layer that predicts further tokens"
                                                 : "tensors of the layer that predicts further tokens are absent";
  }
  return facts;
}

// With the layer that drafts, where there is one: the daemon loads it unless it is told not to.
Json CacheFacts(const ModelConfig& config, MtpUse mtp, LatentFormat format, uint64_t left_bytes) {
  const size_t block_bytes = LatentCache::BytesPerBlock(config, mtp, format);
  const uint64_t blocks = left_bytes / block_bytes;
  return {{"bytes_per_token", block_bytes / kBlockSlots},
          {"fitting_blocks", blocks},
          {"fitting_tokens", blocks * kBlockSlots}};
}

// "layers=5  moe_layers=4": an object's members on one line.
std::string MembersText(const Json& object) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    absl::StrAppend(&text, text.empty() ? "" : "  ", key, "=",
                    value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

std::string Text(const Json& report) {
  std::string text;
  for (const auto& [section, facts] : report.items()) {
    if (!facts.is_array()) {
      absl::StrAppendFormat(&text, "%-12s%s\n", section, MembersText(facts));
      continue;
    }
    absl::StrAppendFormat(&text, "%s\n", section);
    for (const Json& kind : facts) {
      absl::StrAppendFormat(&text, "  %-16s%-10s%8d%16d bytes\n", kind["kind"].get<std::string>(),
                            kind["dtype"].get<std::string>(), kind["tensors"].get<int64_t>(),
                            kind["bytes"].get<uint64_t>());
    }
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> Inspect(const std::filesystem::path& directory, ReportFormat format) {
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return config.status();
  const absl::StatusOr<Contents> contents = ContentsOf(directory, *config);
  if (!contents.ok()) return contents.status();
  const uint64_t available = cpu::AvailableMemory();
  const uint64_t left = available - std::min(available, contents->bytes);
  const Drafting drafting = DraftingOf(*contents, *config);
  const Json report = {
      {"config", ConfigFacts(*config)},
      {"parameters", Parameters(*config)},
      {"tensors", TensorFacts(*contents)},
      {"drafting", DraftingFacts(drafting, *contents, *config)},
      {"memory", {{"files", contents->files}, {"weight_bytes", contents->bytes}, {"available_bytes", available}}},
      {"cache_fp32", CacheFacts(*config, drafting.mtp(), LatentFormat::kF32, left)},
      {"cache_bf16", CacheFacts(*config, drafting.mtp(), LatentFormat::kBf16, left)},
      {"cache_fp8", CacheFacts(*config, drafting.mtp(), LatentFormat::kFp8, left)}};
  return format == ReportFormat::kJson ? report.dump(2) + "\n" : Text(report);
}

}  // namespace latentd
