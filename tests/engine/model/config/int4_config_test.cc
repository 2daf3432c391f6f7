// quantization_config of compressed-tensors: INT4 in symmetric groups of 32, and nothing else of that format.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/model/config/model_config.h"
#include "tests/engine/model/config/edited_config.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Kimi-K2-Thinking's.
json Int4Config() {
  json config = json::parse(KimiK2Json(64));
  config["quantization_config"] = json::parse(R"({
    "config_groups": {"group_0": {"input_activations": null, "output_activations": null, "targets": ["Linear"],
      "weights": {"actorder": null, "block_structure": null, "dynamic": false, "group_size": 32, "num_bits": 4,
        "observer": "minmax", "observer_kwargs": {}, "strategy": "group", "symmetric": true, "type": "int"}}},
    "format": "pack-quantized",
    "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
    "kv_cache_scheme": null, "quant_method": "compressed-tensors", "quantization_status": "compressed"})");
  return config;
}

TEST(Int4Config, KimiK2Thinking) {
  const absl::StatusOr<ModelConfig> config = Load(Int4Config());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->quantization.declared_int4);
  EXPECT_FALSE(config->quantization.declared_fp8);
}

TEST(Int4Config, NewerFilesSayMore) {
  json config = Int4Config();
  json& quantization = config["quantization_config"];
  quantization["sparsity_config"] = json::object();
  quantization["transform_config"] = json::object();
  quantization["version"] = "0.13.0";
  json& scheme = quantization["config_groups"]["group_0"];
  scheme["format"] = "pack-quantized";
  scheme["weights"]["actorder"] = "static";
  scheme["weights"]["scale_dtype"] = nullptr;
  quantization["config_groups"]["experts"] = scheme;
  quantization["config_groups"]["experts"]["targets"] = {"re:.*experts.*"};
  EXPECT_TRUE(Load(config).ok()) << Load(config).status();
}

struct Refusal {
  const char* pointer;  // within quantization_config
  json value;
  const char* message;
};

const Refusal kRefusals[] = {
    {"/format", "nvfp4-pack-quantized", "format: expected pack-quantized, found 'nvfp4-pack-quantized'"},
    {"/format", nullptr, "format: expected a string, found nothing"},
    {"/config_groups", json::object(), "config_groups: expected an object with a scheme"},
    {"/config_groups", nullptr, "config_groups: expected an object with a scheme, found nothing"},
    {"/config_groups/group_0", json::array({"Linear"}), "group_0.weights.num_bits: "},
    {"/config_groups/group_0/format", "int-quantized", "group_0.format: expected pack-quantized"},
    {"/config_groups/group_0/weights/num_bits", 8, "group_0.weights.num_bits: expected 4, found 8"},
    {"/config_groups/group_0/weights/num_bits", nullptr, "weights.num_bits: "},
    {"/config_groups/group_0/weights/type", "float", "weights.type: expected int, found 'float'"},
    {"/config_groups/group_0/weights/group_size", 128, "weights.group_size: expected 32, found 128"},
    {"/config_groups/group_0/weights/strategy", "channel", "weights.strategy: expected group, found 'channel'"},
    {"/config_groups/group_0/weights/symmetric", false, "weights.symmetric: expected true, without zero points, found"},
    {"/config_groups/group_0/weights/dynamic", true, "weights.dynamic: expected false"},
    {"/config_groups/group_0/weights/actorder", "group", "weights.actorder: expected static or null"},
    {"/config_groups/group_0/input_activations", json{{"num_bits", 8}},
     "input_activations: expected null: only weights"},
    {"/config_groups/group_0/output_activations", json{{"num_bits", 8}}, "output_activations: expected null"},
    {"/config_groups/group_1", json{{"weights", nullptr}}, "group_1.weights.num_bits: "},
    {"/kv_cache_scheme", json{{"num_bits", 8}}, "kv_cache_scheme: expected null: the cache has a type of its own"},
    {"/sparsity_config", json{{"format", "sparse-24-bitmask"}}, "sparsity_config: expected null or the format dense"},
    {"/transform_config", json{{"config_groups", 1}}, "transform_config: expected null or {}"},
};

TEST(Int4Config, EverythingElseOfTheFormatIsRefusedByItsKey) {
  for (const Refusal& refusal : kRefusals) {
    SCOPED_TRACE(refusal.pointer + (": " + refusal.value.dump()));
    json config = Int4Config();
    config["quantization_config"][json::json_pointer(refusal.pointer)] = refusal.value;
    const absl::Status status = Load(config).status();
    ASSERT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(refusal.message));
    EXPECT_THAT(std::string(status.message()), HasSubstr("config.json': quantization_config."));
  }
}

}  // namespace
}  // namespace latentd
