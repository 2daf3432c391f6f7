// How published checkpoints call their tensors, and what a name alone tells: the one place that spells them. A layer's
// tensor is LayerPrefix, the names of the parts around it, which end in a dot, and its own.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace latentd::tensor_names {

inline constexpr char kEmbedding[] = "model.embed_tokens.weight";
inline constexpr char kFinalNorm[] = "model.norm.weight";
inline constexpr char kHead[] = "lm_head.weight";

// Parts of a layer.
inline constexpr char kAttentionNorm[] = "input_layernorm.weight";
inline constexpr char kAttention[] = "self_attn.";
inline constexpr char kFeedForwardNorm[] = "post_attention_layernorm.weight";
inline constexpr char kMlp[] = "mlp.";

// Parts of its attention.
inline constexpr char kQuery[] = "q_proj.weight";  // without query compression
inline constexpr char kQueryDown[] = "q_a_proj.weight";
inline constexpr char kQueryNorm[] = "q_a_layernorm.weight";
inline constexpr char kQueryUp[] = "q_b_proj.weight";
inline constexpr char kKeyValueDown[] = "kv_a_proj_with_mqa.weight";
inline constexpr char kKeyValueNorm[] = "kv_a_layernorm.weight";
inline constexpr char kKeyValueUp[] = "kv_b_proj.weight";
inline constexpr char kOut[] = "o_proj.weight";
inline constexpr char kIndexer[] = "indexer.";

// Parts of the attention's indexer.
inline constexpr char kIndexerQuery[] = "wq_b.weight";
inline constexpr char kIndexerKey[] = "wk.weight";
inline constexpr char kIndexerKeyNorm[] = "k_norm.weight";
inline constexpr char kIndexerKeyNormBias[] = "k_norm.bias";
inline constexpr char kIndexerWeights[] = "weights_proj.weight";

// Parts of an expert layer's feed-forward network.
inline constexpr char kExperts[] = "experts.";
inline constexpr char kRouterPart[] = "gate.";
inline constexpr char kRouter[] = "gate.weight";
inline constexpr char kRoutingBias[] = "gate.e_score_correction_bias";
inline constexpr char kSharedExperts[] = "shared_experts.";
std::string ExpertPrefix(int expert);

// Parts of a dense feed-forward network; each expert is one, too.
inline constexpr char kGate[] = "gate_proj.weight";
inline constexpr char kUp[] = "up_proj.weight";
inline constexpr char kDown[] = "down_proj.weight";

// Parts of a layer that predicts further tokens, beside those of any layer.
inline constexpr char kMtpEmbedding[] = "embed_tokens.weight";
inline constexpr char kMtpEmbeddingNorm[] = "enorm.weight";
inline constexpr char kMtpHiddenNorm[] = "hnorm.weight";
inline constexpr char kMtpProjection[] = "eh_proj.weight";
inline constexpr char kMtpHeadPart[] = "shared_head.";
inline constexpr char kMtpHeadNorm[] = "shared_head.norm.weight";
inline constexpr char kMtpHead[] = "shared_head.head.weight";

// The end of every norm's name.
inline constexpr char kNormEnd[] = "norm.weight";

// Behind the name of an FP8 weight.
inline constexpr char kScales[] = "_scale_inv";

// Behind the name of an INT4 weight, of which no tensor has just the name (docs/spec/deepseek.md 4.6).
inline constexpr char kPacked[] = "_packed";
inline constexpr char kGroupScales[] = "_scale";
inline constexpr char kPackedShape[] = "_shape";
// The same where it is packed in ways that are not computed: with zero points, or its inputs in another order.
inline constexpr char kZeroPoints[] = "_zero_point";
inline constexpr char kGroupIndex[] = "_g_idx";

// "model.layers.N."
std::string LayerPrefix(int layer);
// The layer that a tensor belongs to, if it names one.
std::optional<int> LayerOf(std::string_view name);

// Whether its layer is one of those that predict further tokens, and no other.
bool IsOnlyOfMtp(std::string_view name);
bool IsScales(std::string_view name);
// "a.weight" of "a.weight_packed", "a.weight_scale" and "a.weight_shape"; empty for any other name.
std::string_view PackedWeightOf(std::string_view name);
bool IsRoutedExpert(std::string_view name);
// Buffers of rotary frequencies that old files carry along.
bool IsRotaryBuffer(std::string_view name);

// What a report counts a tensor as: "embedding", "routed experts", "shapes", …; "others" for any name.
std::string_view KindOf(std::string_view name);

}  // namespace latentd::tensor_names
