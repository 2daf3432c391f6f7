// The numerics contract of kernels/ops.h for products, in scalar loops of std::fma: what every kernel must equal bit
// for bit, for any number of rows and threads and any instruction set.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace latentd::contract {

// A matrix as its values before scaling; `scaled` matrices have blocks of a bigger one in which this is the part that
// starts at (first_output, first_input). scales is row-major over all blocks of the bigger one.
struct Matrix {
  int outputs = 0;
  int inputs = 0;
  std::vector<float> codes;  // [outputs][inputs]
  bool scaled = false;
  std::vector<float> scales;
  int scale_outputs = 128, scale_inputs = 128;  // of a block
  int scale_columns = 0;
  int first_output = 0;
  int first_input = 0;
  bool transposed = false;  // the bigger one has inputs as rows
  bool is_fp32 = false;     // its products are those of a32 under every format

  bool is_fp8() const { return scaled && scale_inputs == 128; }
  float Code(int n, int k) const { return codes[static_cast<size_t>(n * inputs + k)]; }
  float Scale(int n, int k) const {
    if (!scaled) return 1.0f;
    int row = (first_output + n) / scale_outputs, column = (first_input + k) / scale_inputs;
    if (transposed) std::swap(row, column);
    return scales[static_cast<size_t>(row * scale_columns + column)];
  }
  // The end of the scale block that starts at input `begin`; of all inputs where nothing is scaled.
  int BlockEnd(int begin) const {
    return scaled ? std::min(inputs, begin + scale_inputs - (first_input + begin) % scale_inputs) : inputs;
  }
};

inline std::vector<float> Linear(const Matrix& w, const float* x) {
  std::vector<float> out(static_cast<size_t>(w.outputs), 0.0f);
  for (int n = 0; n < w.outputs; ++n) {
    float total = 0.0f;
    for (int begin = 0, end; begin < w.inputs; begin = end) {
      end = w.BlockEnd(begin);
      float sum = 0.0f;
      for (int k = begin; k < end; ++k) sum = std::fma(x[k], w.Code(n, k), sum);
      total = w.scaled ? std::fma(w.Scale(n, begin), sum, total) : sum;
    }
    out[static_cast<size_t>(n)] = total;
  }
  return out;
}

inline float Exp(float x) {
  if (x < -87.0f) return 0.0f;
  const float v = std::min(x, 88.0f), n = std::nearbyint(v * 1.44269504f);
  float r = std::fma(-n, 0.693359375f, v);
  r = std::fma(-n, -2.12194440e-4f, r);
  float p = 1.3888889e-3f;
  for (const float c : {8.3333338e-3f, 4.1666668e-2f, 1.6666667e-1f, 0.5f, 1.0f, 1.0f}) p = std::fma(p, r, c);
  return p * std::ldexp(1.0f, static_cast<int>(n));
}

struct Expert {
  Matrix gate;
  Matrix up;
  Matrix down;
};

inline void AddExpert(const Expert& expert, const float* x, float weight, std::vector<float>& out) {
  std::vector<float> hidden = Linear(expert.gate, x);
  const std::vector<float> up = Linear(expert.up, x);
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = hidden[i] / (1.0f + Exp(-hidden[i])) * up[i];
  const std::vector<float> y = Linear(expert.down, hidden.data());
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::fma(weight, y[i], out[i]);
}

}  // namespace latentd::contract
