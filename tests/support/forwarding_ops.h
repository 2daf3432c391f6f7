// Passes every verb on to another Ops: the base of wrappers that watch single verbs.
#pragma once

#include "kernels/ops.h"

namespace latentd {

class ForwardingOps : public Ops {
 public:
  explicit ForwardingOps(Ops& to) : to_(to) {}

  absl::Status Reserve(const StepLimits& limits) override { return to_.Reserve(limits); }
  absl::StatusOr<std::unique_ptr<const Matrix>> PackLinear(const MatrixSource& source) override {
    return to_.PackLinear(source);
  }
  absl::StatusOr<std::unique_ptr<const Matrix>> PackTable(const MatrixSource& source) override {
    return to_.PackTable(source);
  }
  absl::StatusOr<std::unique_ptr<const Matrix>> PackKeyValueUp(const MatrixSource& source,
                                                               const AttentionShape& shape) override {
    return to_.PackKeyValueUp(source, shape);
  }
  absl::StatusOr<std::unique_ptr<const Experts>> PackExperts(std::span<const ExpertSource> routed,
                                                             const ExpertSource* shared) override {
    return to_.PackExperts(routed, shared);
  }
  std::span<const ActivationFormat> activation_formats() const override { return to_.activation_formats(); }
  std::span<const LatentFormat> latent_formats(ActivationFormat activations) const override {
    return to_.latent_formats(activations);
  }
  Batch Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) override {
    return to_.Upload(inputs, samples);
  }
  void Embed(const Batch& batch, const Matrix& table, Tensor out) override { to_.Embed(batch, table, out); }
  void RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) override {
    to_.RmsNorm(x, weight, epsilon, out);
  }
  void AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) override {
    to_.AddRmsNorm(x, delta, weight, epsilon, out);
  }
  void Linear(const Activation& x, const Matrix& weight, Tensor out) override { to_.Linear(x, weight, out); }
  void SwiGlu(Tensor gate, Tensor up, const Activation& out) override { to_.SwiGlu(gate, up, out); }
  void RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) override {
    to_.RotateQueries(batch, rope, shape, q);
  }
  void AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                    LatentPages pages) override {
    to_.AppendLatent(kv, weight, epsilon, batch, rope, pages);
  }
  void AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale, const Batch& batch,
                    LatentPages pages, const Activation& out) override {
    to_.AttendLatent(q, key_value_up, shape, scale, batch, pages, out);
  }
  void RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) override {
    to_.RouteExperts(logits, bias, rule, routing);
  }
  void MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) override {
    to_.MixExperts(x, routing, experts, out);
  }
  void GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) override { to_.GatherRows(rows, x, out); }
  void Sample(const Batch& batch, Tensor logits) override { to_.Sample(batch, logits); }
  void Collect(std::span<SampleResult> results) override { to_.Collect(results); }
  void CopyLatents(LatentPages pages, int from, int to, int count) override { to_.CopyLatents(pages, from, to, count); }

 private:
  Ops& to_;
};

}  // namespace latentd
