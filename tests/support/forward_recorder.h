// Watches a forward pass on the CPU, where every verb has been computed when its call returns: which experts each layer
// chose, and the hidden state behind the last norm.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "tests/support/forwarding_ops.h"

namespace latentd {

struct ChosenExpert {
  int32_t expert = 0;
  float weight = 0.0f;  // scaling included
};

struct ForwardRecord {
  // One entry per expert layer and step: the step's tokens, each with its experts by ascending id.
  std::vector<std::vector<std::vector<ChosenExpert>>> routings;
  std::vector<std::vector<float>> hidden;  // of the last step's tokens whose logits were wanted
};

class ForwardRecorder final : public ForwardingOps {
 public:
  ForwardRecorder(Ops& to, ForwardRecord& record) : ForwardingOps(to), record_(record) {}

  void RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) override {
    ForwardingOps::RouteExperts(logits, bias, rule, routing);
    auto& tokens = record_.routings.emplace_back(static_cast<size_t>(routing.rows));
    for (size_t i = 0; i < tokens.size() * static_cast<size_t>(routing.experts_per_token); ++i) {
      tokens[i / static_cast<size_t>(routing.experts_per_token)].push_back({routing.experts[i], routing.weights[i]});
    }
    const auto by_id = [](const ChosenExpert& a, const ChosenExpert& b) { return a.expert < b.expert; };
    for (std::vector<ChosenExpert>& experts : tokens) std::sort(experts.begin(), experts.end(), by_id);
  }

  // The last one of a step is the norm before the head.
  void AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) override {
    ForwardingOps::AddRmsNorm(x, delta, weight, epsilon, out);
    record_.hidden.clear();
    for (int row = 0; row < out.values.rows; ++row) {
      record_.hidden.emplace_back(out.values.Row(row), out.values.Row(row) + out.values.width);
    }
  }

 private:
  ForwardRecord& record_;
};

// For ModelSession::Options.wrap; the record must outlive the session.
inline auto RecordInto(ForwardRecord& record) {
  return [&record](Ops& ops) -> std::unique_ptr<Ops> { return std::make_unique<ForwardRecorder>(ops, record); };
}

}  // namespace latentd
