// Mistakes that other implementations made and that text alone does not show (docs/spec/deepseek.md 6), as far as a
// verb of the CPU can make them and no other test would see it.
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/fp8.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/experts.h"
#include "tests/reference/routing.h"
#include "tests/support/or_die.h"
#include "tests/support/same_bytes.h"

namespace latentd {
namespace {

const RoutingRule kV3Like = {
    .num_experts = 64, .experts_per_token = 6, .num_groups = 8, .groups_per_token = 4, .scale = 2.5f};

struct Chosen {
  std::vector<int32_t> experts;  // [tokens, experts_per_token]
  std::vector<float> weights;
};

Chosen Route(Ops& ops, Tensor logits, const std::vector<float>& bias, const RoutingRule& rule) {
  const auto count = static_cast<size_t>(logits.rows * rule.experts_per_token);
  Chosen chosen{std::vector<int32_t>(count), std::vector<float>(count)};
  ops.RouteExperts(logits, bias.data(), rule,
                   {chosen.experts.data(), chosen.weights.data(), logits.rows, rule.experts_per_token});
  return chosen;
}

// The experts of one token by ascending id.
std::vector<int32_t> Sorted(const Chosen& chosen, int token, const RoutingRule& rule) {
  const auto first = chosen.experts.begin() + token * rule.experts_per_token;
  std::vector<int32_t> experts(first, first + rule.experts_per_token);
  std::sort(experts.begin(), experts.end());
  return experts;
}

// P7: biases of several units have bf16 steps that are as large as differences of scores. That rounding them changes
// choices shows that the verb does not.
TEST(Router, ComputesTheBiasInFp32) {
  std::mt19937 random(7);
  Backend backend = MakeCpuBackend(2).value();
  std::vector<float> bias = RandomValues(64, random), rounded;
  for (float& value : bias) value = 5.0f + 0.05f * value;
  for (const float value : bias) rounded.push_back(DecodeBf16(EncodeBf16(value)));
  const OwnedTensor logits(500, 64, random);
  const Chosen chosen = Route(*backend.ops, logits.tensor(), bias, kV3Like);
  const Chosen of_rounded = Route(*backend.ops, logits.tensor(), rounded, kV3Like);
  int changed = 0;
  for (int token = 0; token < 500; ++token) {
    changed += Sorted(chosen, token, kV3Like) != Sorted(of_rounded, token, kV3Like) ? 1 : 0;
    const reference::RoutedToken expected = reference::RouteToken(logits.Row(token), bias, kV3Like);
    if (expected.margin < 2e-6) continue;  // single precision of a sum of about 5 may decide otherwise
    for (size_t k = 0; k < 6; ++k) {
      ASSERT_EQ(chosen.experts[static_cast<size_t>(token) * 6 + k], expected.experts[k].expert) << "token " << token;
    }
  }
  EXPECT_GT(changed, 50);
}

// P8: the product with the router's weights and the choice, both in fp32, against the product in double, rounded once,
// and the choice in double. Logits are of magnitude one: a sigmoid that is all but 1 has no order to agree on.
TEST(Router, AgreesWithDoubleOnAllButOneTokenInTenThousand) {
  constexpr int kTokens = 10000, kHidden = 128;
  std::mt19937 random(8);
  Backend backend = MakeCpuBackend(2).value();
  const StoredMatrix stored = StoredMatrix::Random(DType::kBf16, kV3Like.num_experts, kHidden, random);
  const auto router = OrDie(backend.ops->PackLinear(stored.Source()));
  const std::vector<float> bias(64, 0.0f);
  const OwnedTensor x(kTokens, kHidden, random), logits(kTokens, kV3Like.num_experts);
  for (int token = 0; token < kTokens; ++token) {
    for (int i = 0; i < kHidden; ++i) x.tensor().Row(token)[i] *= 0.09f;
  }
  backend.ops->Linear(x.tensor(), *router, logits.tensor());
  const Chosen chosen = Route(*backend.ops, logits.tensor(), bias, kV3Like);
  const reference::Rows weight = stored.Reference();
  int differing = 0;
  for (int token = 0; token < kTokens; ++token) {
    std::vector<float> exact;
    for (const double logit : reference::Linear(weight, ToDouble(x.Row(token)))) {
      exact.push_back(static_cast<float>(logit));
    }
    const reference::RoutedToken expected = reference::RouteToken(exact, bias, kV3Like);
    std::vector<int32_t> experts;
    for (const reference::ExpertWeight& choice : expected.experts) experts.push_back(choice.expert);
    std::sort(experts.begin(), experts.end());
    differing += Sorted(chosen, token, kV3Like) != experts ? 1 : 0;
  }
  EXPECT_LE(differing, 1);
}

TEST(Router, PermutedTokensGetPermutedChoices) {
  std::mt19937 random(9);
  Backend backend = MakeCpuBackend(2).value();
  const std::vector<float> bias = RandomValues(64, random);
  const OwnedTensor logits(40, 64, random), permuted(40, 64);
  std::vector<int> order(40);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  for (int r = 0; r < 40; ++r) {
    std::copy_n(logits.tensor().Row(order[static_cast<size_t>(r)]), 64, permuted.tensor().Row(r));
  }
  const Chosen straight = Route(*backend.ops, logits.tensor(), bias, kV3Like);
  const Chosen shuffled = Route(*backend.ops, permuted.tensor(), bias, kV3Like);
  for (size_t i = 0; i < shuffled.experts.size(); ++i) {
    const size_t from = static_cast<size_t>(order[i / 6]) * 6 + i % 6;
    EXPECT_EQ(shuffled.experts[i], straight.experts[from]);
    EXPECT_EQ(shuffled.weights[i], straight.weights[from]);
  }
}

// Experts of one layer with their values; the last is shared.
struct Layer {
  static constexpr int kHidden = 40, kWidth = 24;

  Layer(int num_experts, std::mt19937& random) {
    for (int e = 0; e <= num_experts; ++e) {
      for (std::vector<StoredMatrix>* part : {&gate, &up}) {
        part->push_back(StoredMatrix::Random(DType::kF32, kWidth, kHidden, random));
      }
      down.push_back(StoredMatrix::Random(DType::kF32, kHidden, kWidth, random));
    }
  }
  std::unique_ptr<const Experts> Pack(Ops& ops) const {
    std::vector<ExpertSource> sources;
    for (size_t e = 0; e < gate.size(); ++e) sources.push_back({gate[e].Source(), up[e].Source(), down[e].Source()});
    return OrDie(ops.PackExperts(std::span(sources).first(sources.size() - 1), &sources.back()));
  }
  reference::Vector Apply(size_t expert, const std::vector<float>& x) const {
    return reference::Apply({gate[expert].Reference(), up[expert].Reference(), down[expert].Reference()}, ToDouble(x));
  }

  std::vector<StoredMatrix> gate, up, down;
};

Backend BackendForExperts(int rows, int experts_per_token) {
  Backend backend = MakeCpuBackend(2).value();
  EXPECT_TRUE(
      backend.ops
          ->Reserve(
              {.max_tokens = rows,
               .max_rows = rows,
               .max_logit_rows = rows,
               .max_context = 64,
               .hidden_size = Layer::kHidden,
               .max_linear_inputs = Layer::kHidden,
               .vocab_size = 2,
               .attention = {.num_heads = 1, .nope_width = 2, .rope_width = 2, .value_width = 2, .latent_width = 2},
               .experts_per_token = experts_per_token,
               .expert_width = Layer::kWidth,
               .shared_expert_width = Layer::kWidth})
          .ok());
  return backend;
}

// P9: where all experts are the same one, normalised weights leave routed_scaling_factor times its output, once, and
// the shared expert's as it is.
TEST(UnitExperts, ScalingIsAppliedOnceAndNotToTheSharedExpert) {
  constexpr int kRows = 5;
  std::mt19937 random(10);
  Backend backend = BackendForExperts(kRows, kV3Like.experts_per_token);
  Layer layer(1, random);
  for (std::vector<StoredMatrix>* part : {&layer.gate, &layer.up, &layer.down}) {
    part->insert(part->begin(), static_cast<size_t>(kV3Like.num_experts - 1), part->front());
  }
  const auto experts = layer.Pack(*backend.ops);
  const OwnedTensor x(kRows, Layer::kHidden, random), logits(kRows, 64, random), out(kRows, Layer::kHidden);
  Chosen chosen = Route(*backend.ops, logits.tensor(), RandomValues(64, random), kV3Like);
  backend.ops->MixExperts(x.tensor(), {chosen.experts.data(), chosen.weights.data(), kRows, 6}, *experts, out.tensor());
  for (int row = 0; row < kRows; ++row) {
    reference::Vector expected = layer.Apply(0, x.Row(row));
    const reference::Vector shared = layer.Apply(static_cast<size_t>(kV3Like.num_experts), x.Row(row));
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = 2.5 * expected[i] + shared[i];
    EXPECT_LT(RelativeError(out.Row(row), expected), 1e-6) << "row " << row;
  }
}

// Item 11: the chosen experts alone, against all of them of which the others weigh nothing.
TEST(MixExperts, EqualsTheDenseSumWithZeroWeights) {
  constexpr int kRows = 9, kExperts = 7, kChosen = 3;
  std::mt19937 random(11);
  Backend backend = BackendForExperts(kRows, kExperts);
  const Layer layer(kExperts, random);
  const auto experts = layer.Pack(*backend.ops);
  std::vector<int32_t> some, all;
  std::vector<float> some_weights, all_weights;
  for (int row = 0; row < kRows; ++row) {
    std::vector<int32_t> order(kExperts);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (int k = 0; k < kExperts; ++k) {
      const float weight = k < kChosen ? 0.2f + 0.3f * static_cast<float>(k) : 0.0f;
      all.push_back(order[static_cast<size_t>(k)]);
      all_weights.push_back(weight);
      if (k >= kChosen) continue;
      some.push_back(order[static_cast<size_t>(k)]);
      some_weights.push_back(weight);
    }
  }
  const OwnedTensor x(kRows, Layer::kHidden, random), sparse(kRows, Layer::kHidden), dense(kRows, Layer::kHidden);
  backend.ops->MixExperts(x.tensor(), {some.data(), some_weights.data(), kRows, kChosen}, *experts, sparse.tensor());
  backend.ops->MixExperts(x.tensor(), {all.data(), all_weights.data(), kRows, kExperts}, *experts, dense.tensor());
  for (int row = 0; row < kRows; ++row) EXPECT_LT(RelativeError(sparse.Row(row), ToDouble(dense.Row(row))), 1e-6);
}

// P10: a slice of a matrix keeps the scales that its rows have in the whole, wherever it begins.
TEST(PackedSlices, SliceThenDequantiseIsDequantiseThenSlice) {
  constexpr int kOutputs = 576, kInputs = 150, kCount = 70;
  std::mt19937 random(12);
  cpu::CpuDevice device;
  ThreadPool pool(2);
  const StoredMatrix stored = StoredMatrix::Random(DType::kE4M3, kOutputs, kInputs, random);
  const contract::Matrix whole = stored.Contract();
  OwnedTensor one_hot(kInputs, kInputs);
  for (int k = 0; k < kInputs; ++k) {
    for (int i = 0; i < kInputs; ++i) one_hot.tensor().Row(k)[i] = i == k ? 1.0f : 0.0f;
  }
  std::vector<const float*> rows;
  for (int k = 0; k < kInputs; ++k) rows.push_back(one_hot.tensor().Row(k));
  for (int first = 0; first < kOutputs; ++first) {
    const int count = std::min(kCount, kOutputs - first);
    const cpu::PackedMatrix slice =
        *cpu::PackedMatrix::Pack(device, pool, stored.Source(), {first, count, cpu::Orientation::kAsStored});
    const OwnedTensor out(kInputs, count);
    cpu::Linear(pool, {.values = rows.data()}, slice, out.tensor());
    for (int k = 0; k < kInputs; ++k) {
      for (int n = 0; n < count; ++n) {
        ASSERT_EQ(out.tensor().Row(k)[n], whole.Code(first + n, k) * whole.Scale(first + n, k))
            << "slice from row " << first << ", value [" << n << ", " << k << "]";
      }
    }
  }
}

}  // namespace
}  // namespace latentd
