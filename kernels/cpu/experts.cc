#include "kernels/cpu/experts.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/experts.cc"
#include <algorithm>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/activation_codes-inl.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/linear-inl.h"
#include "kernels/cpu/partial-inl.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// One panel of the hidden layer for a job's rows [first, first + count); `next` is the gate's panel of the next item.
void HiddenPanel(const cpu::ExpertScratch& scratch, const cpu::ExpertJob& job, int panel, int first, int count,
                 const std::byte* next) {
  HWY_ALIGN float gate[cpu::kMaxProductRows * cpu::kPanelOutputs];
  HWY_ALIGN float up[cpu::kMaxProductRows * cpu::kPanelOutputs];
  PanelProduct(*job.gate, panel, scratch.x(job, *job.gate).From(first), count, gate, job.up->Panel(panel));
  PanelProduct(*job.up, panel, scratch.x(job, *job.up).From(first), count, up, next);
  const bool is_rounded = scratch.hidden_kind(job) == cpu::InputKind::kBf16;
  for (int r = 0; r < count; ++r) {
    float* hidden = scratch.hidden(job)[first + r] + panel * cpu::kPanelOutputs;
    for (int n = 0; n < cpu::kPanelOutputs; n += kLanes) {
      const int at = r * cpu::kPanelOutputs + n;
      const Vec value = SiluTimes(hn::Load(kF32, gate + at), hn::Load(kF32, up + at));
      hn::StoreU(is_rounded ? RoundToBf16(value) : value, kF32, hidden + n);
    }
  }
}

// Adds one panel of the output for a job's rows [first, first + count); `next` is the next job's panel.
void AddOutputPanel(const cpu::ExpertScratch& scratch, const cpu::ExpertJob& job, int panel, int first, int count,
                    const std::byte* next, Tensor out) {
  HWY_ALIGN float product[cpu::kMaxProductRows * cpu::kPanelOutputs];
  PanelProduct(*job.down, panel, scratch.hidden_rows(job).From(first), count, product, next);
  const int width = job.down->EndLane(panel);
  for (int r = 0; r < count; ++r) {
    float* to = out.Row(scratch.row(job, first + r)) + panel * cpu::kPanelOutputs;
    const Vec weight = Set(scratch.weight(job, first + r));
    for (int n = 0; n < width; n += kLanes) {
      const Vec y = hn::Load(kF32, product + r * cpu::kPanelOutputs + n);
      StoreUpTo(Fma(weight, y, LoadUpTo(to + n, width - n)), to + n, width - n);
    }
  }
}

// Rounds the hidden rows that meet an E4M3 weight to codes.
void RoundHidden(ThreadPool& pool, const cpu::ExpertScratch& scratch, ScaleFormat format) {
  const std::vector<cpu::ExpertJob>& jobs = scratch.jobs();
  pool.ForEach(scratch.num_choices(), [&](int choice, int) HWY_ATTR {
    const auto next = std::upper_bound(jobs.begin(), jobs.end(), choice,
                                       [](int i, const cpu::ExpertJob& job) { return i < job.first; });
    const cpu::ExpertJob& job = *(next - 1);
    if (scratch.hidden_kind(job) != cpu::InputKind::kCodes) return;
    const int i = choice - job.first;
    RoundToCodes(scratch.hidden(job)[i], job.down->inputs, format, scratch.hidden_scales(job)[i]);
  });
}

// The job of a panel of all hidden layers.
const cpu::ExpertJob& JobOfPanel(const std::vector<cpu::ExpertJob>& jobs, int panel) {
  return *(std::upper_bound(jobs.begin(), jobs.end(), panel,
                            [](int i, const cpu::ExpertJob& job) { return i < job.first_panel; }) -
           1);
}

void MixExperts(ThreadPool& pool, const cpu::ExpertInputs& x, const cpu::ExpertScratch& scratch, Tensor out) {
  const std::vector<cpu::ExpertJob>& jobs = scratch.jobs();
  const auto for_rows = [](const cpu::ExpertJob& job, const auto& body) {
    for (int first = 0; first < job.count; first += cpu::kMaxProductRows)
      body(first, std::min(cpu::kMaxProductRows, job.count - first));
  };
  pool.ForEach(scratch.num_hidden_panels(), [&](int item, int) {
    const cpu::ExpertJob& job = JobOfPanel(jobs, item);
    const int next_item = std::min(item + pool.num_threads(), scratch.num_hidden_panels() - 1);  // taken in turn
    const cpu::ExpertJob& next = JobOfPanel(jobs, next_item);
    for_rows(job, [&](int first, int count) {
      HiddenPanel(scratch, job, item - job.first_panel, first, count, next.gate->Panel(next_item - next.first_panel));
    });
  });
  if (x.has_codes) RoundHidden(pool, scratch, x.scale_format);
  pool.ForEach((out.width + cpu::kPanelOutputs - 1) / cpu::kPanelOutputs, [&](int panel, int) {
    const int begin = panel * cpu::kPanelOutputs, end = std::min(out.width, begin + cpu::kPanelOutputs);
    for (int r = 0; r < out.rows; ++r) std::fill(out.Row(r) + begin, out.Row(r) + end, 0.0f);
    for (size_t i = 0; i < jobs.size(); ++i) {
      const std::byte* const next = i + 1 < jobs.size() ? jobs[i + 1].down->Panel(panel) : nullptr;
      for_rows(jobs[i],
               [&](int first, int count) { AddOutputPanel(scratch, jobs[i], panel, first, count, next, out); });
    }
  });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(MixExperts);

void MixExperts(ThreadPool& pool, const ExpertInputs& x, const Routing& routing, const PackedExperts& experts,
                ExpertScratch& scratch, Tensor out) {
  scratch.Plan(x, routing, experts);
  HWY_DYNAMIC_DISPATCH(MixExperts)(pool, x, scratch, out);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
