#include "tests/bench/random_model.h"

#include <nlohmann/json.hpp>

#include "tests/support/temporary_directory.h"
#include "tools/convert/random_checkpoint.h"

namespace latentd {

std::string ConfigJson(const BenchShape& shape) {
  const AttentionShape& attention = shape.attention;
  const nlohmann::ordered_json json = {{"architectures", {"DeepseekV2ForCausalLM"}},
                                       {"model_type", "deepseek_v2"},
                                       {"bos_token_id", 0},
                                       {"eos_token_id", 1},
                                       {"first_k_dense_replace", shape.num_dense_layers},
                                       {"hidden_act", "silu"},
                                       {"hidden_size", shape.hidden_size},
                                       {"intermediate_size", shape.dense_width},
                                       {"kv_lora_rank", attention.latent_width},
                                       {"max_position_embeddings", shape.max_context},
                                       {"moe_intermediate_size", shape.expert_width},
                                       {"moe_layer_freq", 1},
                                       {"n_group", 1},
                                       {"n_routed_experts", shape.num_experts},
                                       {"n_shared_experts", shape.num_shared_experts},
                                       {"norm_topk_prob", false},
                                       {"num_attention_heads", attention.num_heads},
                                       {"num_experts_per_tok", shape.experts_per_token},
                                       {"num_hidden_layers", shape.num_layers},
                                       {"num_key_value_heads", attention.num_heads},
                                       {"num_nextn_predict_layers", shape.num_mtp_layers},
                                       {"q_lora_rank", nullptr},
                                       {"qk_nope_head_dim", attention.nope_width},
                                       {"qk_rope_head_dim", attention.rope_width},
                                       {"rms_norm_eps", 1e-6},
                                       {"rope_theta", 10000},
                                       {"routed_scaling_factor", 1.0},
                                       {"scoring_func", "softmax"},
                                       {"tie_word_embeddings", false},
                                       {"topk_group", 1},
                                       {"topk_method", "greedy"},
                                       {"torch_dtype", "bfloat16"},
                                       {"v_head_dim", attention.value_width},
                                       {"vocab_size", shape.vocab_size}};
  return json.dump(2);
}

absl::Status WriteRandomModel(const BenchShape& shape, const std::filesystem::path& directory) {
  const std::filesystem::path config_json = directory.string() + ".json";
  WriteFile(config_json, ConfigJson(shape));
  return WriteRandomCheckpoint({.config_json = config_json, .dtype = DType::kE4M3, .to = directory});
}

}  // namespace latentd
