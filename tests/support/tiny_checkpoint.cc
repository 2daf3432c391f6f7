#include "tests/support/tiny_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "kernels/fp8.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

constexpr int64_t kScaleBlock = 128;
constexpr float kLargestE4M3 = 448.0f;

nlohmann::ordered_json YarnJson(const TinyCheckpoint& options) {
  return {{"type", "yarn"},
          {"factor", options.yarn_factor},
          {"original_max_position_embeddings", static_cast<int>(options.max_context / options.yarn_factor)},
          {"beta_fast", 32},
          {"beta_slow", 1},
          {"mscale", 1.0},
          {"mscale_all_dim", 1.0}};
}

bool HasPowerOfTwoScales(const TinyCheckpoint& options) {
  return options.power_of_two_scales || options.scales == DType::kE8M0;
}

// As Kimi-K2-Thinking's config.json says it.
nlohmann::ordered_json Int4Json() {
  const nlohmann::ordered_json weights = {
      {"actorder", nullptr}, {"block_structure", nullptr}, {"dynamic", false},    {"group_size", kInt4Group},
      {"num_bits", 4},       {"observer", "minmax"},       {"strategy", "group"}, {"symmetric", true},
      {"type", "int"}};
  const nlohmann::ordered_json group = {
      {"input_activations", nullptr}, {"output_activations", nullptr}, {"targets", {"Linear"}}, {"weights", weights}};
  return {{"config_groups", {{"group_0", group}}},
          {"format", "pack-quantized"},
          {"ignore", {"lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"}},
          {"kv_cache_scheme", nullptr},
          {"quant_method", "compressed-tensors"},
          {"quantization_status", "compressed"}};
}

nlohmann::ordered_json QuantizationJson(const TinyCheckpoint& options) {
  if (options.projections == DType::kInt4) return Int4Json();
  nlohmann::ordered_json json = {{"quant_method", "fp8"},
                                 {"fmt", "e4m3"},
                                 {"activation_scheme", "dynamic"},
                                 {"weight_block_size", {kScaleBlock, kScaleBlock}}};
  if (HasPowerOfTwoScales(options)) json["scale_fmt"] = "ue8m0";
  return json;
}

std::string ConfigJson(const TinyCheckpoint& options) {
  nlohmann::ordered_json json = {{"model_type", options.model_type},
                                 {"vocab_size", options.vocab_size},
                                 {"hidden_size", options.hidden_size},
                                 {"num_hidden_layers", options.num_layers},
                                 {"num_nextn_predict_layers", options.num_mtp_layers},
                                 {"max_position_embeddings", options.max_context},
                                 {"num_attention_heads", options.attention.num_heads},
                                 {"qk_nope_head_dim", options.attention.nope_width},
                                 {"qk_rope_head_dim", options.attention.rope_width},
                                 {"v_head_dim", options.attention.value_width},
                                 {"kv_lora_rank", options.attention.latent_width},
                                 {"q_lora_rank", nullptr},
                                 {"intermediate_size", options.dense_width},
                                 {"moe_intermediate_size", options.expert_width},
                                 {"n_routed_experts", options.num_experts},
                                 {"n_shared_experts", options.num_shared_experts},
                                 {"num_experts_per_tok", options.experts_per_token},
                                 {"n_group", options.num_groups},
                                 {"topk_group", options.groups_per_token},
                                 {"first_k_dense_replace", options.num_dense_layers},
                                 {"routed_scaling_factor", 2.5},
                                 {"rms_norm_eps", 1e-6},
                                 {"rope_theta", 10000},
                                 {"rope_scaling", nullptr},
                                 {"tie_word_embeddings", options.tied_embedding},
                                 {"bos_token_id", 0},
                                 {"eos_token_id", 1}};
  if (options.query_latent_width > 0) json["q_lora_rank"] = options.query_latent_width;
  if (options.yarn_factor != 1.0) json["rope_scaling"] = YarnJson(options);
  if (options.projections == DType::kE4M3 || options.projections == DType::kInt4)
    json["quantization_config"] = QuantizationJson(options);
  json.merge_patch(nlohmann::ordered_json::parse(options.config_patch));
  return json.dump(2);
}

template <class T>
void AppendBytes(T value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendValue(DType dtype, float value, std::string& bytes) {
  switch (dtype) {
    case DType::kF32:
      AppendBytes(value, bytes);
      break;
    case DType::kBf16:
      AppendBytes(EncodeBf16(value), bytes);
      break;
    case DType::kE4M3:
      AppendBytes(EncodeE4M3(value), bytes);
      break;
    case DType::kE8M0:
      AppendBytes(static_cast<uint8_t>(std::ilogb(value) + 127), bytes);
      break;
    case DType::kInt4:
      CHECK(false && "stored as words");
  }
}

const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBf16:
      return "BF16";
    case DType::kE4M3:
      return "F8_E4M3";
    case DType::kE8M0:
      return "F8_E8M0";
    case DType::kInt4:
      return "I32";
  }
  return "";
}

StoredTensor Store(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
                   std::span<const float> values) {
  StoredTensor tensor = {.name = name, .dtype = NameOf(dtype), .shape = shape, .bytes = {}};
  for (const float value : values) AppendValue(dtype, value, tensor.bytes);
  return tensor;
}

// The scale of a block of that largest magnitude, as it will read back from the file.
float StorableScale(float largest, const TinyCheckpoint& options) {
  const float scale = largest == 0.0f ? 1.0f : largest / kLargestE4M3;
  if (HasPowerOfTwoScales(options)) return std::exp2(std::ceil(std::log2(scale)));
  return options.scales == DType::kBf16 ? DecodeBf16(EncodeBf16(scale)) : scale;
}

// The FP8 weight and its scales, one per block of 128 x 128 (docs/spec/deepseek.md 4.2).
std::pair<StoredTensor, StoredTensor> Quantize(const ExpectedTensor& expected, std::span<const float> values,
                                               const TinyCheckpoint& options) {
  const int64_t rows = expected.shape[0];
  const int64_t columns = expected.shape[1];
  const std::vector<int64_t> blocks = {(rows + kScaleBlock - 1) / kScaleBlock,
                                       (columns + kScaleBlock - 1) / kScaleBlock};
  const auto block_of = [&](size_t index) {
    const int64_t place = static_cast<int64_t>(index);
    return static_cast<size_t>(place / columns / kScaleBlock * blocks[1] + place % columns / kScaleBlock);
  };
  std::vector<float> scales(static_cast<size_t>(blocks[0] * blocks[1]));
  for (size_t i = 0; i < values.size(); ++i) {
    scales[block_of(i)] = std::max(scales[block_of(i)], std::fabs(values[i]));
  }
  for (float& scale : scales) scale = StorableScale(scale, options);
  std::vector<float> quotients(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i) quotients[i] /= scales[block_of(i)];
  return {Store(expected.name, DType::kE4M3, expected.shape, quotients),
          Store(expected.name + "_scale_inv", options.scales, blocks, scales)};
}

// The nibbles of an INT4 weight, its scales and its shape (docs/spec/deepseek.md 4.6), rounded to nearest.
std::vector<StoredTensor> PackInt4(const ExpectedTensor& expected, std::span<const float> values) {
  const int64_t rows = expected.shape[0], width = expected.shape[1];
  const int64_t words = (width + 7) / 8, groups = (width + kInt4Group - 1) / kInt4Group;
  StoredTensor nibbles = {expected.name + "_packed", "I32", {rows, words}, {}};
  nibbles.bytes.resize(static_cast<size_t>(rows * words * 4));
  std::vector<float> scales(static_cast<size_t>(rows * groups));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t begin = 0; begin < width; begin += kInt4Group) {
      const std::span<const float> group = values.subspan(
          static_cast<size_t>(row * width + begin), static_cast<size_t>(std::min<int64_t>(kInt4Group, width - begin)));
      float largest = 0.0f;
      for (const float value : group) largest = std::max(largest, std::fabs(value));
      float& scale = scales[static_cast<size_t>(row * groups + begin / kInt4Group)];
      scale = DecodeBf16(EncodeBf16(largest == 0.0f ? 1.0f : largest / 7.0f));
      for (size_t i = 0; i < group.size(); ++i) {
        const float code = std::clamp(std::nearbyint(group[i] / scale), -8.0f, 7.0f);
        const size_t column = static_cast<size_t>(begin) + i;
        char& pair = nibbles.bytes[static_cast<size_t>(row * words * 4) + column / 2];
        pair = static_cast<char>(pair | static_cast<int>(code + 8.0f) << (4 * (column % 2)));
      }
    }
  }
  StoredTensor shape = {expected.name + "_shape", "I64", {2}, {}};
  for (const int64_t size : expected.shape) AppendBytes(size, shape.bytes);
  return {nibbles, Store(expected.name + "_scale", DType::kBf16, {rows, groups}, scales), shape};
}

class TensorDrawing {
 public:
  explicit TensorDrawing(const TinyCheckpoint& options) : options_(options), random_(options.seed) {}

  void Add(const ExpectedTensor& expected, std::vector<StoredTensor>& tensors) {
    const std::string* original = OriginalOf(expected.name);
    if (original != nullptr) {
      const auto same = [&](const StoredTensor& tensor) { return tensor.name == *original; };
      StoredTensor copy = *std::find_if(tensors.begin(), tensors.end(), same);
      copy.name = expected.name;
      tensors.push_back(std::move(copy));
      return;
    }
    const std::vector<float> values = Draw(expected);
    const DType dtype = DTypeOf(expected);
    if (dtype == DType::kInt4) {
      for (StoredTensor& part : PackInt4(expected, values)) tensors.push_back(std::move(part));
      return;
    }
    if (dtype != DType::kE4M3) {
      tensors.push_back(Store(expected.name, dtype, expected.shape, values));
      return;
    }
    auto [weight, scales] = Quantize(expected, values, options_);
    tensors.push_back(std::move(weight));
    tensors.push_back(std::move(scales));
  }

 private:
  // The tensor that an MTP layer's own embedding or head repeats.
  const std::string* OriginalOf(std::string_view name) const {
    static const std::string kEmbedding = "model.embed_tokens.weight";
    static const std::string kHead = "lm_head.weight";
    if (name == kEmbedding || name == kHead) return nullptr;
    if (name.ends_with("shared_head.head.weight")) return options_.tied_embedding ? &kEmbedding : &kHead;
    return name.ends_with("embed_tokens.weight") ? &kEmbedding : nullptr;
  }

  DType DTypeOf(const ExpectedTensor& expected) {
    if (expected.name.ends_with("e_score_correction_bias")) return options_.routing_bias;
    if (!MayBeFp8(expected.role)) return options_.others;
    const bool is_routed = expected.name.find(".experts.") != expected.name.npos;
    if (options_.projections == DType::kInt4 &&
        (!MayBeInt4(expected.role) || (options_.only_experts_int4 && !is_routed)))
      return DType::kBf16;
    if (!options_.mixed_projections) return options_.projections;
    constexpr DType kInTurn[] = {DType::kE4M3, DType::kBf16, DType::kE4M3, DType::kF32};
    return kInTurn[num_projections_++ % std::size(kInTurn)];
  }

  std::vector<float> Draw(const ExpectedTensor& expected) {
    size_t count = 1;
    for (const int64_t size : expected.shape) count *= static_cast<size_t>(size);
    float mean = 0.0f;
    float deviation = 1.0f;  // of the embedding
    if (expected.name.ends_with("e_score_correction_bias")) {
      mean = options_.routing_bias_mean;
      deviation = 0.1f;
    } else if (expected.shape.size() == 1) {
      mean = 1.0f;
      deviation = 0.1f;
    } else if (!expected.name.ends_with("embed_tokens.weight")) {
      deviation = 1.0f / std::sqrt(static_cast<float>(expected.shape[1]));
    }
    std::normal_distribution<float> normal(mean, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }

  const TinyCheckpoint& options_;
  std::mt19937_64 random_;
  size_t num_projections_ = 0;  // so far
};

}  // namespace

StoredTensor& CheckpointDraft::Find(std::string_view name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& tensor) { return tensor.name == name; });
  CHECK(found != tensors.end());
  return *found;
}

void CheckpointDraft::Remove(std::string_view name) { tensors.erase(tensors.begin() + (&Find(name) - tensors.data())); }

void CheckpointDraft::Reconfigure(std::string_view from, std::string_view to) {
  const size_t place = config_json.find(from);
  CHECK(place != std::string::npos);
  config_json.replace(place, from.size(), to);
}

void CheckpointDraft::Write(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  WriteFile(directory / "config.json", config_json);
  WriteShards(directory, tensors, num_shards);
}

CheckpointDraft DraftTinyCheckpoint(const TinyCheckpoint& options) {
  CheckpointDraft draft = {.config_json = ConfigJson(options), .tensors = {}, .num_shards = options.num_shards};
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "config.json", draft.config_json);
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory.path());
  if (!config.ok()) std::cerr << config.status() << std::endl;
  CHECK(config.ok());
  TensorDrawing drawing(options);
  const absl::Status status = ForEachExpectedTensor(*config, [&](const ExpectedTensor& expected) {
    if (expected.is_copy() && (expected.name == "lm_head.weight" || !options.has_mtp_copies)) return absl::OkStatus();
    drawing.Add(expected, draft.tensors);
    return absl::OkStatus();
  });
  CHECK(status.ok());
  return draft;
}

void WriteTinyCheckpoint(const TinyCheckpoint& options, const std::filesystem::path& directory) {
  DraftTinyCheckpoint(options).Write(directory);
}

}  // namespace latentd
