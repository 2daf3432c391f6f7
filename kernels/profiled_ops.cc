#include "kernels/profiled_ops.h"

#include <utility>

#include "base/check.h"
#include "base/now.h"

namespace latentd {

ProfiledOps& ProfiledOps::Around(std::unique_ptr<Ops>& ops) {
  auto profiled = std::make_unique<ProfiledOps>(std::move(ops));
  ProfiledOps& around = *profiled;
  ops = std::move(profiled);
  return around;
}

std::shared_ptr<const ProfileRecording> ProfiledOps::Record(int num_steps) {
  CHECK_GT(num_steps, 0);
  const std::lock_guard lock(mutex_);
  if (const auto asked = asked_.lock(); asked != nullptr && !asked->is_complete()) return nullptr;
  auto recording = std::make_shared<ProfileRecording>(num_steps);
  asked_ = recording;
  is_asked_ = true;
  return recording;
}

void ProfiledOps::BeginStep(const BatchInputs& inputs) {
  CHECK(step_ == nullptr && "the step before was not collected");
  {
    const std::lock_guard lock(mutex_);
    recording_ = asked_.lock();
    if (recording_ == nullptr || recording_->is_complete()) {
      recording_ = nullptr;
      is_asked_ = false;
      return;
    }
  }
  const size_t num_calls = recording_->steps_.empty() ? 0 : recording_->steps_.back().calls.size();
  step_ = &recording_->steps_.emplace_back();
  if (!inputs.hidden_rows.empty()) step_->name = "draft";
  step_->rows = static_cast<int>(inputs.rows.size());
  step_->tokens = inputs.num_tokens();
  step_->calls.reserve(num_calls);
  step_->started = Now();
}

void ProfiledOps::EndStep() {
  step_->took = Now() - step_->started;
  step_ = nullptr;
  recording_->num_computed_.store(recording_->steps_.size(), std::memory_order_release);
  recording_ = nullptr;
}

template <class Call, class WorkOf>
void ProfiledOps::Timed(const Call& call, const WorkOf& work_of) {
  if (step_ == nullptr) return call();
  const TimePoint started = Now();
  call();
  const Duration took = Now() - started;
  const CallWork work = work_of();
  step_->calls.push_back({.verb = work.verb,
                          .weight = work.weight,
                          .rows = work.rows,
                          .cost = work.cost,
                          .started = started,
                          .took = took});
}

// ------------------------------------------------------------------------------------------------------------ packing

template <class Packed>
absl::StatusOr<Packed> ProfiledOps::Remember(absl::StatusOr<Packed> packed, NamedWeight weight) {
  if (packed.ok()) weights_[packed->get()] = std::move(weight);
  return packed;
}

absl::StatusOr<std::unique_ptr<const Matrix>> ProfiledOps::PackLinear(const MatrixSource& source) {
  return Remember(to_->PackLinear(source),
                  {.name = std::string(source.name), .size = WeightSizeOf(source), .experts = {}});
}

absl::StatusOr<std::unique_ptr<const Matrix>> ProfiledOps::PackTable(const MatrixSource& source) {
  return Remember(to_->PackTable(source),
                  {.name = std::string(source.name), .size = WeightSizeOf(source), .experts = {}});
}

absl::StatusOr<std::unique_ptr<const Matrix>> ProfiledOps::PackKeyValueUp(const MatrixSource& source,
                                                                          const AttentionShape& shape) {
  return Remember(to_->PackKeyValueUp(source, shape),
                  {.name = std::string(source.name), .size = WeightSizeOf(source), .experts = {}});
}

absl::StatusOr<std::unique_ptr<const Experts>> ProfiledOps::PackExperts(std::span<const ExpertSource> routed,
                                                                        const ExpertSource* shared) {
  NamedWeight weight;
  if (!routed.empty()) weight.name = std::string(routed.front().gate.name);
  for (const ExpertSource& source : routed) weight.experts.routed.push_back(WeightSizeOf(source));
  if (shared != nullptr) weight.experts.shared = WeightSizeOf(*shared);
  return Remember(to_->PackExperts(routed, shared), std::move(weight));
}

// -------------------------------------------------------------------------------------------------------------- verbs

Batch ProfiledOps::Upload(const BatchInputs& inputs, std::span<const SampleRow> samples) {
  if (is_asked_.load(std::memory_order_relaxed)) BeginStep(inputs);
  return to_->Upload(inputs, samples);
}

void ProfiledOps::Collect(std::span<SampleResult> results) {
  to_->Collect(results);
  if (step_ != nullptr) EndStep();
}

void ProfiledOps::Embed(const Batch& batch, const Matrix& table, Tensor out) {
  Timed([&] { to_->Embed(batch, table, out); },
        [&] {
          const NamedWeight& weight = weights_.at(&table);
          const double row_bytes = weight.size.bytes / table.outputs;
          return CallWork{"Embed", weight.name, out.rows, {.bytes = row_bytes * out.rows, .flops = 0.0}};
        });
}

void ProfiledOps::RmsNorm(Tensor x, const float* weight, float epsilon, const Activation& out) {
  Timed([&] { to_->RmsNorm(x, weight, epsilon, out); },
        [&] {
          return CallWork{"RmsNorm", {}, x.rows, ElementCost(2.0 * x.rows * x.width)};
        });
}

void ProfiledOps::AddRmsNorm(Tensor x, Tensor delta, const float* weight, float epsilon, const Activation& out) {
  Timed([&] { to_->AddRmsNorm(x, delta, weight, epsilon, out); },
        [&] {
          return CallWork{"AddRmsNorm", {}, x.rows, ElementCost(4.0 * x.rows * x.width)};
        });
}

void ProfiledOps::Linear(const Activation& x, const Matrix& weight, Tensor out) {
  Timed([&] { to_->Linear(x, weight, out); },
        [&] {
          const NamedWeight& named = weights_.at(&weight);
          return CallWork{"Linear", named.name, out.rows, LinearCost(named.size, out.rows)};
        });
}

void ProfiledOps::SwiGlu(Tensor gate, Tensor up, const Activation& out) {
  Timed([&] { to_->SwiGlu(gate, up, out); },
        [&] {
          return CallWork{"SwiGlu", {}, gate.rows, ElementCost(3.0 * gate.rows * gate.width)};
        });
}

void ProfiledOps::RotateQueries(const Batch& batch, const RopeTable& rope, const AttentionShape& shape, Tensor q) {
  Timed([&] { to_->RotateQueries(batch, rope, shape, q); },
        [&] {
          const double rotated = static_cast<double>(q.rows) * shape.num_heads * shape.rope_width;
          return CallWork{"RotateQueries", {}, q.rows, ElementCost(2.0 * rotated)};
        });
}

void ProfiledOps::AppendLatent(Tensor kv, const float* weight, float epsilon, const Batch& batch, const RopeTable& rope,
                               LatentPages pages) {
  Timed([&] { to_->AppendLatent(kv, weight, epsilon, batch, rope, pages); },
        [&] {
          OpCost cost = ElementCost(static_cast<double>(kv.rows) * kv.width);
          cost.bytes += static_cast<double>(kv.rows) * static_cast<double>(pages.slot_bytes());
          return CallWork{"AppendLatent", {}, kv.rows, cost};
        });
}

void ProfiledOps::AttendLatent(Tensor q, const Matrix& key_value_up, const AttentionShape& shape, float scale,
                               const Batch& batch, LatentPages pages, const Activation& out) {
  Timed([&] { to_->AttendLatent(q, key_value_up, shape, scale, batch, pages, out); },
        [&] {
          const NamedWeight& weight = weights_.at(&key_value_up);
          return CallWork{"AttendLatent", weight.name, q.rows, AttendCost(weight.size, shape, batch, pages)};
        });
}

void ProfiledOps::RouteExperts(Tensor logits, const float* bias, const RoutingRule& rule, Routing routing) {
  Timed([&] { to_->RouteExperts(logits, bias, rule, routing); },
        [&] {
          return CallWork{"RouteExperts", {}, logits.rows, ElementCost(1.0 * logits.rows * logits.width)};
        });
}

void ProfiledOps::MixExperts(const Activation& x, const Routing& routing, const Experts& experts, Tensor out) {
  Timed([&] { to_->MixExperts(x, routing, experts, out); },
        [&] {
          const NamedWeight& weight = weights_.at(&experts);
          return CallWork{"MixExperts", weight.name, out.rows, MixCost(weight.experts, routing)};
        });
}

void ProfiledOps::GatherRows(std::span<const int32_t> rows, Tensor x, Tensor out) {
  Timed([&] { to_->GatherRows(rows, x, out); },
        [&] {
          return CallWork{"GatherRows", {}, out.rows, ElementCost(2.0 * out.rows * out.width)};
        });
}

void ProfiledOps::Sample(const Batch& batch, Tensor logits) {
  Timed([&] { to_->Sample(batch, logits); },
        [&] {
          return CallWork{"Sample", {}, logits.rows, ElementCost(1.0 * logits.rows * logits.width)};
        });
}

void ProfiledOps::CopyLatents(LatentPages pages, int from, int to, int count) {
  Timed([&] { to_->CopyLatents(pages, from, to, count); },
        [&] {
          const double bytes = 2.0 * count * static_cast<double>(pages.slot_bytes());
          return CallWork{"CopyLatents", {}, count, {.bytes = bytes, .flops = 0.0}};
        });
}

}  // namespace latentd
