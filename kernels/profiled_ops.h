// Passes every verb on to another Ops and, while somebody holds a recording, writes down what each call had to do and
// how long it took. Only for devices whose verbs have computed when they return: elsewhere the times would be those of
// launches. Engine thread only, but for Record. Without a recording a verb costs one branch more.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "kernels/op_cost.h"
#include "kernels/ops.h"

namespace latentd {

struct ProfiledCall {
  std::string_view verb;    // as in ops.h
  std::string_view weight;  // the tensor's name; empty: it has none. Lives as long as the ProfiledOps
  int rows = 0;
  OpCost cost;
  TimePoint started;
  Duration took{};
};

// What lies between an Upload and its Collect: a step, or a pass of the layer that predicts further tokens behind it.
struct ProfiledStep {
  std::string_view name = "step";  // "draft": such a pass
  int rows = 0;
  int tokens = 0;
  TimePoint started;  // its inputs were handed over
  Duration took{};    // until its results were
  std::vector<ProfiledCall> calls;
};

// Some steps, recorded for as long as the one who asked holds it.
class ProfileRecording {
 public:
  explicit ProfileRecording(int num_steps) : num_steps_(num_steps) { steps_.reserve(static_cast<size_t>(num_steps)); }

  // Any thread, while further steps are recorded.
  bool is_complete() const { return num_computed() == static_cast<size_t>(num_steps_); }
  std::span<const ProfiledStep> steps() const { return {steps_.data(), num_computed()}; }

 private:
  friend class ProfiledOps;

  size_t num_computed() const { return num_computed_.load(std::memory_order_acquire); }

  const int num_steps_;
  std::vector<ProfiledStep> steps_;  // never moved: others read those that were computed
  std::atomic<size_t> num_computed_{0};
};

class ProfiledOps final : public Ops {
 public:
  // Puts itself around them.
  static ProfiledOps& Around(std::unique_ptr<Ops>& ops);
  explicit ProfiledOps(std::unique_ptr<Ops> to) : to_(std::move(to)) {}

  // The next num_steps > 0 steps are recorded; null while another recording is under way. Any thread.
  std::shared_ptr<const ProfileRecording> Record(int num_steps);

  absl::Status Reserve(const StepLimits& limits) override { return to_->Reserve(limits); }
  std::span<const ActivationFormat> activation_formats() const override { return to_->activation_formats(); }
  std::span<const LatentFormat> latent_formats(ActivationFormat activations) const override {
    return to_->latent_formats(activations);
  }
  absl::StatusOr<std::unique_ptr<const Matrix>> PackLinear(const MatrixSource& source) override;
  absl::StatusOr<std::unique_ptr<const Matrix>> PackTable(const MatrixSource& source) override;
  absl::StatusOr<std::unique_ptr<const Matrix>> PackKeyValueUp(const MatrixSource& source,
                                                               const AttentionShape& shape) override;
  absl::StatusOr<std::unique_ptr<const Experts>> PackExperts(std::span<const ExpertSource> routed,
                                                             const ExpertSource* shared) override;

  Batch Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) override;
  void Embed(const Batch& batch, const Matrix& table, Tensor out) override;
  void RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) override;
  void AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) override;
  void Linear(const Activation& x, const Matrix& weight, Tensor out) override;
  void SwiGlu(Tensor gate, Tensor up, const Activation& out) override;
  void RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) override;
  void AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                    LatentPages pages) override;
  void AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale, const Batch& batch,
                    LatentPages pages, const Activation& out) override;
  void RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) override;
  void MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) override;
  void GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) override;
  void Sample(const Batch& batch, Tensor logits) override;
  void Collect(std::span<SampleResult> results) override;
  void CopyLatents(LatentPages pages, int from, int to, int count) override;

 private:
  struct NamedWeight {
    std::string name;
    WeightSize size;
    ExpertSizes experts;
  };
  struct CallWork {
    std::string_view verb;
    std::string_view weight;
    int rows = 0;
    OpCost cost;
  };
  template <class Packed>
  absl::StatusOr<Packed> Remember(absl::StatusOr<Packed> packed, NamedWeight weight);
  void BeginStep(const BatchInputs& inputs);
  void EndStep();
  // Calls `verb`; where a step is recorded, with what work_of() says of it.
  template <class Call, class WorkOf>
  void Timed(const Call& call, const WorkOf& work_of);

  const std::unique_ptr<Ops> to_;
  std::map<const void*, NamedWeight> weights_;  // by their Matrix or Experts

  std::mutex mutex_;
  std::weak_ptr<ProfileRecording> asked_;  // guarded by mutex_
  std::atomic<bool> is_asked_{false};      // so that a step without a recording takes no lock

  std::shared_ptr<ProfileRecording> recording_;  // of the step at hand
  ProfiledStep* step_ = nullptr;                 // the last of recording_
};

}  // namespace latentd
