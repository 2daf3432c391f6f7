// W8A8 in the forward pass, on any backend: each verb fills the codes of its values, each product with an FP8 weight
// reads them, and no other does. A weight is told by what was packed, an activation by what lies in the device's
// memory.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>

#include <gtest/gtest.h>

#include "kernels/stored_value.h"
#include "tests/kernels/ops/op_backend.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/reference/codes.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/model_session.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_checkpoint.h"

namespace latentd {
namespace {

reference::Rows Dequantised(const MatrixSource& source) {
  reference::Rows rows(static_cast<size_t>(source.outputs));
  for (int n = 0; n < source.outputs; ++n)
    for (int k = 0; k < source.inputs; ++k) rows[static_cast<size_t>(n)].push_back(StoredValue(source, n, k));
  return rows;
}

// What a run did with codes.
struct Findings {
  int filled = 0;  // activations
  int coded_products = 0;
  int plain_products = 0;
  int coded_mixtures = 0;
  int wrong_codes = 0;    // groups whose codes or scale are not those of the values
  int uneven_scales = 0;  // not powers of two
  double worst = 0.0;     // relative error of a row of a product against double
  int mixed_rows = 0;
  int otherwise = 0;  // mixed rows that are off: a hidden value between two codes may fall either way
};

class CodeChecker final : public ForwardingOps {
 public:
  CodeChecker(Ops& to, Device& device, ScaleFormat format, Findings& findings)
      : ForwardingOps(to), device_(device), format_(format), findings_(findings) {}

  absl::Status Reserve(const StepLimits& limits) override {
    activations_ = limits.activations;
    return ForwardingOps::Reserve(limits);
  }

  absl::StatusOr<std::unique_ptr<const Matrix>> PackLinear(const MatrixSource& source) override {
    auto packed = ForwardingOps::PackLinear(source);
    weights_[packed->get()] = {source.dtype, FormFor(source), Dequantised(source)};
    return packed;
  }
  absl::StatusOr<std::unique_ptr<const Experts>> PackExperts(std::span<const ExpertSource> routed,
                                                             const ExpertSource* shared) override {
    auto packed = ForwardingOps::PackExperts(routed, shared);
    Layer& layer = layers_[packed->get()];
    const auto add = [&](const ExpertSource& source) {
      layer.experts.push_back({Dequantised(source.gate), Dequantised(source.up), Dequantised(source.down)});
      layer.forms.push_back({FormFor(source.gate), FormFor(source.up), FormFor(source.down)});
    };
    std::for_each(routed.begin(), routed.end(), add);
    layer.has_shared = shared != nullptr;
    if (shared != nullptr) add(*shared);
    return packed;
  }

  void RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) override {
    ForwardingOps::RmsNorm(x, weight, epsilon, out);
    CheckCodes(out);
  }
  void AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) override {
    ForwardingOps::AddRmsNorm(x, delta, weight, epsilon, out);
    CheckCodes(out);
  }
  void SwiGlu(Tensor gate, Tensor up, const Activation& out) override {
    ForwardingOps::SwiGlu(gate, up, out);
    CheckCodes(out);
  }
  void AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale, const Batch& batch,
                    LatentPages pages, const Activation& out) override {
    ForwardingOps::AttendLatent(q, key_value_up, shape, scale, batch, pages, out);
    CheckCodes(out);
  }
  void Linear(const Activation& x, const Matrix& weight, Tensor out) override {
    ForwardingOps::Linear(x, weight, out);
    const Weight& w = weights_.at(&weight);
    const bool coded = x.codes != nullptr && w.dtype == DType::kE4M3;
    ++(coded ? findings_.coded_products : findings_.plain_products);
    for (int r = 0; r < out.rows; ++r) {
      const std::vector<float> values = Row(x.values, r);
      const auto inputs =
          coded ? ToDouble(contract::RoundToCodes(values, format_)) : InForm(w.form, ToDouble(values), format_);
      findings_.worst = std::max(findings_.worst, RelativeError(Row(out, r), reference::Linear(w.values, inputs)));
    }
  }
  void MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) override {
    ForwardingOps::MixExperts(x, routing, experts, out);
    if (x.codes == nullptr) return;
    ++findings_.coded_mixtures;
    for (int r = 0; r < out.rows; ++r, ++findings_.mixed_rows) {
      const double error = RelativeError(Row(out, r), Mixed(layers_.at(&experts), routing, r, Row(x.values, r)));
      if (error > 2 * TestTraits().linear_error) ++findings_.otherwise;
      EXPECT_LT(error, 2e-2);
    }
  }

 private:
  struct Weight {
    DType dtype = DType::kF32;
    reference::InputForm form = reference::InputForm::kAsTheyAre;
    reference::Rows values;
  };
  struct Layer {
    std::vector<reference::Expert> experts;  // the shared one is the last
    std::vector<reference::ExpertInputForms> forms;
    bool has_shared = false;
  };

  reference::InputForm FormFor(const MatrixSource& source) const { return InputFormOf(source, activations_); }

  template <class T>
  std::vector<T> Get(const T* at, int count) {
    std::vector<T> values(static_cast<size_t>(count));
    device_.Download(at, values.size() * sizeof(T), values.data());
    return values;
  }
  std::vector<float> Row(const Tensor& tensor, int row) { return Get(tensor.Row(row), tensor.width); }

  void CheckCodes(const Activation& filled) {
    if (filled.codes == nullptr) return;
    ++findings_.filled;
    const int stride = filled.code_stride(), groups = filled.num_groups();
    for (int r = 0; r < filled.values.rows; ++r) {
      const contract::CodedRow expected = contract::CodesOf(Row(filled.values, r), format_);
      const std::vector<float> scales = Get(filled.scales + r * groups, groups);
      if (Get(filled.codes + r * stride, stride) != expected.codes || scales != expected.scales) {
        ++findings_.wrong_codes;
      }
      for (const float scale : scales) {
        int exponent = 0;
        if (std::frexp(scale, &exponent) != 0.5f) ++findings_.uneven_scales;
      }
    }
  }
  reference::Vector Mixed(const Layer& layer, const Routing& routing, int row, const std::vector<float>& x) {
    reference::Vector out(x.size(), 0.0);
    const auto add = [&](size_t expert, double weight) {
      const reference::Vector y =
          reference::ApplyRounded(layer.experts[expert], layer.forms[expert], ToDouble(x), format_);
      for (size_t i = 0; i < out.size(); ++i) out[i] += weight * y[i];
    };
    const int per_token = routing.experts_per_token;
    const std::vector<int32_t> chosen = Get(routing.experts + row * per_token, per_token);
    const std::vector<float> weights = Get(routing.weights + row * per_token, per_token);
    for (size_t i = 0; i < chosen.size(); ++i) add(static_cast<size_t>(chosen[i]), double{weights[i]});
    if (layer.has_shared) add(layer.experts.size() - 1, 1.0);
    return out;
  }

  Device& device_;
  ScaleFormat format_;
  ActivationFormat activations_ = ActivationFormat::kF32;
  Findings& findings_;
  std::map<const Matrix*, Weight> weights_;
  std::map<const Experts*, Layer> layers_;
};

// A prompt of ten tokens and two more steps of one.
constexpr int kSteps = 3;
Findings Check(const std::filesystem::path& model, ScaleFormat format,
               ActivationFormat activations = ActivationFormat::kE4M3) {
  Findings findings;
  Device* device = nullptr;
  ModelSession session(
      model, {.num_blocks = 8,
              .max_tokens = 16,
              .max_rows = 4,
              .max_logit_rows = 16,
              .activations = activations,
              .make_backend =
                  [&] {
                    Backend backend = MakeUnreservedTestBackend();
                    device = backend.device.get();
                    return backend;
                  },
              .wrap = [&](Ops& ops) { return std::make_unique<CodeChecker>(ops, *device, format, findings); }});
  std::vector<int32_t> ids(12);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 37 % 331);
  const int sequence = session.AddSequence();
  session.Step({{.sequence = sequence, .ids = std::span(ids).first(10), .wanted = {9}}});
  for (size_t i = 10; i < 12; ++i)
    session.Step({{.sequence = sequence, .ids = std::span(ids).subspan(i, 1), .wanted = {0}}});
  return findings;
}

void ExpectPaper(const Findings& findings) {
  EXPECT_EQ(findings.wrong_codes, 0);
  EXPECT_LT(findings.worst, 2 * TestTraits().linear_error);
  EXPECT_LE(10 * findings.otherwise, findings.mixed_rows);
}

TEST(DeviceCodes, EveryFp8ProductReadsTheCodesOfItsInput) {
  const TemporaryDirectory model;
  WriteTinyCheckpoint({.projections = DType::kE4M3}, model.path());
  const Findings findings = Check(model.path(), ScaleFormat::kF32);
  ExpectPaper(findings);
  // In each of three layers: h twice, q_latent, heads; once the hidden layer of the dense one.
  EXPECT_EQ(findings.filled, kSteps * (3 * 4 + 1));
  // q_down, q_up, kv_down, out; gate, up, down of the dense layer.
  EXPECT_EQ(findings.coded_products, kSteps * (3 * 4 + 3));
  EXPECT_EQ(findings.coded_mixtures, kSteps * 2);
  EXPECT_EQ(findings.plain_products, kSteps * (2 + 1)) << "the routers and the head";
  EXPECT_GT(findings.uneven_scales, 0);
}

// docs/spec/deepseek.md 6, P11: in every FP8 layer, where the checkpoint was trained so.
TEST(DeviceCodes, ScalesArePowersOfTwoWhereTheCheckpointsAre) {
  const TemporaryDirectory model;
  // Groups of codes that end inside a head, a head's width that is odd.
  const AttentionShape attention = {
      .num_heads = 5, .nope_width = 24, .rope_width = 16, .value_width = 33, .latent_width = 40};
  WriteTinyCheckpoint(
      {.attention = attention, .query_latent_width = 0, .projections = DType::kE4M3, .scales = DType::kE8M0},
      model.path());
  const Findings findings = Check(model.path(), ScaleFormat::kUe8m0);
  ExpectPaper(findings);
  EXPECT_EQ(findings.filled, kSteps * (3 * 3 + 1));
  EXPECT_EQ(findings.coded_products, kSteps * (3 * 3 + 3));
  EXPECT_EQ(findings.uneven_scales, 0);
}

TEST(DeviceCodes, OffReadsValues) {
  const TemporaryDirectory model;
  WriteTinyCheckpoint({.projections = DType::kE4M3}, model.path());
  const Findings findings = Check(model.path(), ScaleFormat::kF32, ActivationFormat::kF32);
  EXPECT_EQ(findings.filled + findings.coded_products + findings.coded_mixtures, 0);
  ExpectPaper(findings);
}

// A checkpoint whose tensors of these names are bf16, and all other projections FP8.
void WriteMixedCheckpoint(const std::vector<std::string>& wide, const std::filesystem::path& directory) {
  CheckpointDraft mixed = DraftTinyCheckpoint({.projections = DType::kE4M3});
  CheckpointDraft bf16 = DraftTinyCheckpoint({.projections = DType::kBf16});
  for (const std::string& name : wide) {
    mixed.Find(name) = bf16.Find(name);
    mixed.Remove(name + "_scale_inv");
  }
  mixed.Write(directory);
}

TEST(DeviceCodes, MixedCheckpointsReadCodesWhereTheTensorIsFp8) {
  std::vector<std::string> wide = {"model.layers.0.self_attn.q_a_proj.weight", "model.layers.1.self_attn.o_proj.weight",
                                   "model.layers.0.mlp.down_proj.weight",
                                   "model.layers.1.mlp.shared_experts.gate_proj.weight"};
  for (int expert = 0; expert < 8; ++expert)
    wide.push_back("model.layers.2.mlp.experts." + std::to_string(expert) + ".down_proj.weight");
  // Single experts that differ are fp32 as a whole on a GPU.
  if (TestTraits().name == "cpu") wide.emplace_back("model.layers.1.mlp.experts.2.up_proj.weight");
  const TemporaryDirectory model;
  WriteMixedCheckpoint(wide, model.path());
  const Findings findings = Check(model.path(), ScaleFormat::kF32);
  ExpectPaper(findings);
  EXPECT_EQ(findings.coded_products, kSteps * (3 * 4 + 3 - 3));
  EXPECT_EQ(findings.plain_products, kSteps * (2 + 1 + 3));
}

}  // namespace
}  // namespace latentd
