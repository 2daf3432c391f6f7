// The paper's product y = W x in double: one row, plain loops.
#pragma once

#include <cstddef>
#include <vector>

namespace latentd::reference {

using Vector = std::vector<double>;
using Rows = std::vector<Vector>;  // of a matrix [outputs][inputs], or of activations

inline Vector Linear(const Rows& weight, const Vector& x) {
  Vector y(weight.size(), 0.0);
  for (size_t n = 0; n < weight.size(); ++n)
    for (size_t k = 0; k < x.size(); ++k) y[n] += weight[n][k] * x[k];
  return y;
}

}  // namespace latentd::reference
