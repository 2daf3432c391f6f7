// The paper's mixture of experts in double: one row, plain loops (docs/spec/deepseek.md 3.5, 3.6).
#pragma once

#include <cmath>

#include "tests/reference/linear.h"

namespace latentd::reference {

struct Expert {
  Rows gate;
  Rows up;
  Rows down;
};

// W_down (silu(W_gate x) ⊙ W_up x).
inline Vector Apply(const Expert& expert, const Vector& x) {
  const Vector gate = Linear(expert.gate, x), up = Linear(expert.up, x);
  Vector hidden(gate.size());
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
  return Linear(expert.down, hidden);
}

struct WeightedExpert {
  const Expert* expert = nullptr;
  double weight = 1.0;
};

inline Vector MixExperts(const std::vector<WeightedExpert>& chosen, const Vector& x) {
  Vector out(x.size(), 0.0);
  for (const WeightedExpert& choice : chosen) {
    const Vector y = Apply(*choice.expert, x);
    for (size_t i = 0; i < out.size(); ++i) out[i] += choice.weight * y[i];
  }
  return out;
}

}  // namespace latentd::reference
