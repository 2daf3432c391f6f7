// config.json and generation_config.json. What is accepted is a model whose sizes and scales can be computed with.
#include <cmath>
#include <set>

#include "base/check.h"
#include "engine/model/checkpoint/tensor_catalog.h"
#include "engine/model/config/model_config.h"
#include "engine/model/config/rope.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

void CheckSizes(const ModelConfig& config) {
  const AttentionShape& attention = config.attention;
  for (const int size : {config.vocab_size, config.hidden_size, config.num_layers, config.max_context,
                         config.dense_width, attention.num_heads, attention.nope_width, attention.rope_width,
                         attention.value_width, attention.latent_width, config.moe_layer_period}) {
    CHECK_GE(size, 1);
  }
  for (const int size : {config.num_mtp_layers, config.query_latent_width, config.expert_width,
                         config.shared_expert_width, config.first_moe_layer}) {
    CHECK_GE(size, 0);
  }
  CHECK_EQ(attention.rope_width % 2, 0);
  CHECK(std::isfinite(config.softmax_scale) && config.softmax_scale > 0.0);
  CHECK(config.epsilon > 0.0 && config.latent_epsilon > 0.0);
}

void CheckRouting(const RoutingRule& rule) {
  if (rule.num_experts == 0) return;
  CHECK_GE(rule.num_groups, 1);
  CHECK_EQ(rule.num_experts % rule.num_groups, 0);
  CHECK(rule.groups_per_token >= 1 && rule.groups_per_token <= rule.num_groups);
  CHECK_GE(rule.experts_per_token, 1);
  CHECK_LE(rule.experts_per_token, rule.num_experts / rule.num_groups * rule.groups_per_token);
  CHECK(std::isfinite(rule.scale));
}

void CheckTokenIds(const ModelConfig& config) {
  const auto exists = [&](int32_t id) { return id >= 0 && id < config.vocab_size; };
  for (const int32_t id : config.eos_ids) CHECK(exists(id));
  CHECK(exists(config.bos_id.value_or(0)));
}

void CheckRope(const ModelConfig& config) {
  const std::vector<double> frequencies = RopeFrequencies(config.attention, config.rope);
  CHECK_EQ(frequencies.size(), static_cast<size_t>(config.attention.rope_width / 2));
  for (const double frequency : frequencies) CHECK(std::isfinite(frequency) && frequency >= 0.0);
  CHECK(std::isfinite(RopeAmplitude(config.rope)));
}

// Checks the first ones only: a configuration may ask for millions.
void CheckFirstTensors(const ModelConfig& config) {
  constexpr size_t kMaxTensors = 200;
  std::set<std::string> names;
  const absl::Status walked = ForEachExpectedTensor(config, [&](const ExpectedTensor& tensor) {
    CHECK(names.insert(tensor.name).second);
    CHECK(tensor.shape.size() == 1 || tensor.shape.size() == 2);
    for (const int64_t dimension : tensor.shape) CHECK(dimension >= 1 && dimension < int64_t{1} << 40);
    return names.size() < kMaxTensors ? absl::OkStatus() : absl::CancelledError("enough");
  });
  CHECK(walked.ok() || absl::IsCancelled(walked));
}

}  // namespace

void FuzzConfig(std::string_view input) {
  const std::filesystem::path& directory = InputDirectory().path();
  const auto [config_json, generation_config] = SplitAtNul(input, R"({"eos_token_id": 1})");
  WriteFile(directory / "config.json", config_json);
  WriteFile(directory / "generation_config.json", generation_config);
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return CheckRefusal(config.status());
  CheckSizes(*config);
  CheckRouting(config->routing);
  CheckTokenIds(*config);
  CheckRope(*config);
  CheckFirstTensors(*config);
  CHECK(LoadModelConfig(directory)->digest == config->digest);
}

}  // namespace latentd
