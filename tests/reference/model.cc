#include "tests/reference/model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <string>

#include "engine/model/config/rope.h"
#include "kernels/fp8.h"
#include "kernels/stored_value.h"

namespace latentd::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A weight expanded to double: code times scale of its block or group.
class Weight {
 public:
  explicit Weight(const MatrixSource& source)
      : outputs_(static_cast<size_t>(source.outputs)), inputs_(static_cast<size_t>(source.inputs)) {
    const size_t blocks = (inputs_ + 127) / 128;
    for (size_t i = 0; i < outputs_ * inputs_; ++i) {
      if (source.dtype == DType::kInt4) {  // exact in fp32
        values_.push_back(StoredValue(source, static_cast<int>(i / inputs_), static_cast<int>(i % inputs_)));
        continue;
      }
      double value = Decode(source, i);
      if (!source.scales.empty()) value *= source.scales[i / inputs_ / 128 * blocks + i % inputs_ / 128];
      values_.push_back(value);
    }
  }

  std::span<const double> operator[](size_t output) const { return {values_.data() + output * inputs_, inputs_}; }
  Row Times(std::span<const double> x) const {
    Row y;
    for (size_t n = 0; n < outputs_; ++n) y.push_back(std::inner_product(x.begin(), x.end(), (*this)[n].begin(), 0.0));
    return y;
  }

 private:
  static double Decode(const MatrixSource& source, size_t i) {
    const std::byte* at = source.bytes + i * SizeOf(source.dtype);
    if (source.dtype == DType::kE4M3) return DecodeE4M3(static_cast<uint8_t>(*at));
    uint32_t bits = 0;
    std::memcpy(&bits, at, SizeOf(source.dtype));
    return source.dtype == DType::kBf16 ? DecodeBf16(static_cast<uint16_t>(bits)) : std::bit_cast<float>(bits);
  }

  size_t outputs_, inputs_;
  std::vector<double> values_;
};

// The checkpoint's tensors, each matrix expanded when it is first asked for.
class Parameters {
 public:
  explicit Parameters(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  const Weight& Matrix(const std::string& name) {
    const auto found = expanded_.find(name);
    return found != expanded_.end() ? found->second : expanded_.emplace(name, checkpoint_.Matrix(name)).first->second;
  }
  std::vector<float> Vector(const std::string& name) const { return checkpoint_.Vector(name); }

 private:
  const Checkpoint& checkpoint_;
  std::map<std::string, Weight> expanded_;
};

Row Norm(std::span<const double> x, const std::vector<float>& weight, double epsilon) {
  const double mean = std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
  Row y;
  for (size_t i = 0; i < x.size(); ++i) y.push_back(weight[i] * x[i] / std::sqrt(mean + epsilon));
  return y;
}

void Add(Row& x, const Row& delta, double factor = 1.0) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += factor * delta[i];
}

void Rotate(std::span<double> x, const ModelConfig& config, size_t position) {
  const std::vector<double> frequencies = RopeFrequencies(config.attention, config.rope);
  const size_t pairs = frequencies.size();
  const bool adjacent = config.rope.pairs == RopePairs::kAdjacent;
  for (size_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    const double cosine = std::cos(angle) * RopeAmplitude(config.rope);
    const double sine = std::sin(angle) * RopeAmplitude(config.rope);
    double& a = x[adjacent ? 2 * i : i];
    double& b = x[adjacent ? 2 * i + 1 : i + pairs];
    const double rotated = a * cosine - b * sine;
    b = a * sine + b * cosine;
    a = rotated;
  }
}

Row Mlp(Parameters& parameters, const std::string& at, std::span<const double> x) {
  Row gate = parameters.Matrix(at + "gate_proj.weight").Times(x);
  const Row up = parameters.Matrix(at + "up_proj.weight").Times(x);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
  return parameters.Matrix(at + "down_proj.weight").Times(gate);
}

// Queries [T][H (d_n + d_r)], rotated.
Rows Queries(Parameters& parameters, const ModelConfig& config, const std::string& at, const Rows& h) {
  const AttentionShape& shape = config.attention;
  const bool compressed = config.query_latent_width > 0;
  const Weight& up = parameters.Matrix(at + (compressed ? "q_b_proj.weight" : "q_proj.weight"));
  Rows q;
  for (size_t t = 0; t < h.size(); ++t) {
    Row x = h[t];
    if (compressed) {
      x = Norm(parameters.Matrix(at + "q_a_proj.weight").Times(x), parameters.Vector(at + "q_a_layernorm.weight"),
               config.latent_epsilon);
    }
    q.push_back(up.Times(x));
    for (int head = 0; head < shape.num_heads; ++head) {
      const size_t rope = static_cast<size_t>(head * shape.query_width() + shape.nope_width);
      Rotate(std::span(q.back()).subspan(rope, static_cast<size_t>(shape.rope_width)), config, t);
    }
  }
  return q;
}

struct KeysAndValues {
  Rows expanded;  // per head: d_n keys, then d_v values
  Rows rope;      // [T][d_r], shared by all heads
};

KeysAndValues ExpandKeys(Parameters& parameters, const ModelConfig& config, const std::string& at, const Rows& h) {
  const Weight& down = parameters.Matrix(at + "kv_a_proj_with_mqa.weight");
  const Weight& up = parameters.Matrix(at + "kv_b_proj.weight");
  const size_t latent_width = static_cast<size_t>(config.attention.latent_width);
  KeysAndValues result;
  for (size_t t = 0; t < h.size(); ++t) {
    const Row u = down.Times(h[t]);
    const Row latent =
        Norm(std::span(u).first(latent_width), parameters.Vector(at + "kv_a_layernorm.weight"), config.latent_epsilon);
    result.expanded.push_back(up.Times(latent));
    result.rope.emplace_back(u.begin() + config.attention.latent_width, u.end());
    Rotate(result.rope.back(), config, t);
  }
  return result;
}

// o[t, head] = Σ_j softmax_j(σ q·k) v over j <= t.
Row AttendHead(const ModelConfig& config, const Row& query, const KeysAndValues& kv, int head, size_t t) {
  const AttentionShape& shape = config.attention;
  const double* q = query.data() + head * shape.query_width();
  const int offset = head * (shape.nope_width + shape.value_width);
  Row scores;
  for (size_t j = 0; j <= t; ++j) {
    const double* k = kv.expanded[j].data() + offset;
    const double nope = std::inner_product(q, q + shape.nope_width, k, 0.0);
    const double rope = std::inner_product(kv.rope[j].begin(), kv.rope[j].end(), q + shape.nope_width, 0.0);
    scores.push_back(config.softmax_scale * (nope + rope));
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  Row out(static_cast<size_t>(shape.value_width));
  for (size_t j = 0; j <= t; ++j) {
    const double p = std::exp(scores[j] - top);
    sum += p;
    const double* v = kv.expanded[j].data() + offset + shape.nope_width;
    for (size_t i = 0; i < out.size(); ++i) out[i] += p * v[i];
  }
  for (double& o : out) o /= sum;
  return out;
}

Rows Attention(Parameters& parameters, const ModelConfig& config, const std::string& at, const Rows& h) {
  const Rows q = Queries(parameters, config, at, h);
  const KeysAndValues kv = ExpandKeys(parameters, config, at, h);
  const Weight& out = parameters.Matrix(at + "o_proj.weight");
  Rows result;
  for (size_t t = 0; t < h.size(); ++t) {
    Row heads;
    for (int head = 0; head < config.attention.num_heads; ++head) {
      const Row o = AttendHead(config, q[t], kv, head, t);
      heads.insert(heads.end(), o.begin(), o.end());
    }
    result.push_back(out.Times(heads));
  }
  return result;
}

// Indices of the k largest, ties to the lower index; lowers `margin` to the distance between the last in and the first
// out.
std::vector<int> Largest(const Row& values, int k, double& margin) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)]; });
  const auto at = [&](int rank) { return values[static_cast<size_t>(order[static_cast<size_t>(rank)])]; };
  if (k < static_cast<int>(values.size()) && at(k) > -kInfinity) margin = std::min(margin, at(k - 1) - at(k));
  order.resize(static_cast<size_t>(k));
  return order;
}

// Sets the scores of groups that do not take part to -inf.
void LimitGroups(const RoutingRule& rule, Row& scores, double& margin) {
  const int size = rule.num_experts / rule.num_groups;
  Row group_scores;
  for (int group = 0; group < rule.num_groups; ++group) {
    Row members(scores.begin() + group * size, scores.begin() + (group + 1) * size);
    std::sort(members.rbegin(), members.rend());
    group_scores.push_back(rule.group_score == GroupScore::kMax ? members[0] : members[0] + members[1]);
  }
  const std::vector<int> kept = Largest(group_scores, rule.groups_per_token, margin);
  for (int expert = 0; expert < rule.num_experts; ++expert) {
    if (std::find(kept.begin(), kept.end(), expert / size) == kept.end())
      scores[static_cast<size_t>(expert)] = -kInfinity;
  }
}

std::vector<ExpertChoice> Route(const RoutingRule& rule, Row scores, const std::vector<float>& bias, double& margin) {
  if (rule.score == ExpertScore::kSigmoid) {
    for (double& s : scores) s = 1.0 / (1.0 + std::exp(-s));
  } else {
    const double top = *std::max_element(scores.begin(), scores.end());
    for (double& s : scores) s = std::exp(s - top);
    const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
    for (double& s : scores) s /= sum;
  }
  Row selection = scores;
  for (size_t e = 0; e < bias.size(); ++e) selection[e] += bias[e];
  if (rule.num_groups > 1) LimitGroups(rule, selection, margin);

  std::vector<int> chosen = Largest(selection, rule.experts_per_token, margin);
  std::sort(chosen.begin(), chosen.end());
  double sum = 0.0;
  for (const int e : chosen) sum += scores[static_cast<size_t>(e)];
  const double divisor = rule.normalize && rule.experts_per_token > 1 ? sum + 1e-20 : 1.0;
  std::vector<ExpertChoice> result;
  for (const int e : chosen) result.push_back({e, scores[static_cast<size_t>(e)] / divisor * rule.scale});
  return result;
}

Row Experts(Parameters& parameters, const ModelConfig& config, const std::string& at, const Row& h,
            const std::vector<ExpertChoice>& choice) {
  Row y(h.size());
  for (const auto& [expert, weight] : choice) {
    Add(y, Mlp(parameters, at + "experts." + std::to_string(expert) + ".", h), weight);
  }
  if (config.shared_expert_width > 0) Add(y, Mlp(parameters, at + "shared_experts.", h));
  return y;
}

void FeedForward(Parameters& parameters, const ModelConfig& config, int layer, Rows& x, ForwardResult& result) {
  const std::string at = "model.layers." + std::to_string(layer) + ".";
  const std::vector<float> norm = parameters.Vector(at + "post_attention_layernorm.weight");
  const bool moe = config.IsMoe(layer);
  const std::vector<float> bias = moe && config.has_routing_bias
                                      ? parameters.Vector(at + "mlp.gate.e_score_correction_bias")
                                      : std::vector<float>();
  if (moe) result.experts.emplace_back();
  for (Row& row : x) {
    const Row h = Norm(row, norm, config.epsilon);
    if (!moe) {
      Add(row, Mlp(parameters, at + "mlp.", h));
      continue;
    }
    const Row scores = parameters.Matrix(at + "mlp.gate.weight").Times(h);
    result.experts.back().push_back(Route(config.routing, scores, bias, result.smallest_routing_margin));
    Add(row, Experts(parameters, config, at + "mlp.", h, result.experts.back().back()));
  }
}

}  // namespace

ForwardResult Forward(const Checkpoint& checkpoint, const ModelConfig& config, std::span<const int32_t> ids) {
  ForwardResult result;
  result.smallest_routing_margin = kInfinity;
  Parameters parameters(checkpoint);
  const Weight& embedding = parameters.Matrix("model.embed_tokens.weight");
  Rows x;
  for (const int32_t id : ids) {
    const std::span<const double> row = embedding[static_cast<size_t>(id)];
    x.emplace_back(row.begin(), row.end());
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const std::vector<float> norm = parameters.Vector(at + "input_layernorm.weight");
    Rows h;
    for (const Row& row : x) h.push_back(Norm(row, norm, config.epsilon));
    const Rows delta = Attention(parameters, config, at + "self_attn.", h);
    for (size_t t = 0; t < x.size(); ++t) Add(x[t], delta[t]);
    FeedForward(parameters, config, layer, x, result);
  }
  const Weight& head = parameters.Matrix(config.tied_embedding ? "model.embed_tokens.weight" : "lm_head.weight");
  const std::vector<float> final_norm = parameters.Vector("model.norm.weight");
  for (const Row& row : x) {
    result.hidden.push_back(Norm(row, final_norm, config.epsilon));
    result.logits.push_back(head.Times(result.hidden.back()));
  }
  return result;
}

}  // namespace latentd::reference
