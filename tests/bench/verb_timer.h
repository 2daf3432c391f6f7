// Verbs on the CPU, timed by the decorator that profiles the daemon: one account of bytes and FLOPs for both.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/backend.h"
#include "kernels/profiled_ops.h"
#include "tests/bench/kernel_bench.h"
#include "tests/bench/report.h"
#include "tests/bench/tile_roof.h"
#include "tests/support/or_die.h"

namespace latentd {

class VerbTimer {
 public:
  VerbTimer(const KernelBench& options, const StepLimits& limits, Report& report)
      : options_(options),
        activations_(limits.activations),
        report_(report),
        backend_(OrDie(MakeCpuBackend(options.threads))),
        ops_(std::move(backend_.ops)) {
    CHECK(ops_.Reserve(limits).ok());
  }

  Device& device() { return *backend_.device; }
  Ops& ops() { return ops_; }
  bool Wants(const std::string& name) const { return name.find(options_.only) != std::string::npos; }

  // call(i) calls `verb` once, and perhaps others. The figure is the call of median time in the best of the rounds,
  // with its own cost: of experts, calls touch more or fewer.
  template <class Call>
  void Measure(const std::string& name, std::string_view verb, const Call& call) {
    if (!Wants(name)) return;
    const ProfiledCall probe = MedianOf(Round(1, call), verb);
    const double probe_seconds = Seconds(std::max<Duration>(probe.took, Duration(1)));
    const int num_calls = static_cast<int>(std::clamp(options_.seconds / probe_seconds, 5.0, 500.0));
    ProfiledCall best = MedianOf(Round(num_calls, call), verb);
    for (int round = 1; round < options_.rounds; ++round) {
      const ProfiledCall median = MedianOf(Round(num_calls, call), verb);
      if (median.took < best.took) best = median;
    }
    report_.Add({.name = name,
                 .threads = options_.threads,
                 .seconds = Seconds(std::max<Duration>(best.took, Duration(1))),
                 .cost = best.cost,
                 .tile_flops = TileFlops(verb, best.cost, activations_)});
  }

 private:
  template <class Call>
  std::vector<ProfiledCall> Round(int num_calls, const Call& call) {
    const std::shared_ptr<const ProfileRecording> recording = ops_.Record(1);
    CHECK(recording != nullptr);
    ops_.Upload(BatchInputs{}, {});
    for (int i = 0; i < num_calls; ++i) call(next_call_++);
    ops_.Collect({});
    return recording->steps().front().calls;
  }

  static ProfiledCall MedianOf(std::vector<ProfiledCall> calls, std::string_view verb) {
    std::erase_if(calls, [verb](const ProfiledCall& call) { return call.verb != verb; });
    CHECK(!calls.empty());
    const auto middle = calls.begin() + std::ssize(calls) / 2;
    std::nth_element(calls.begin(), middle, calls.end(),
                     [](const ProfiledCall& a, const ProfiledCall& b) { return a.took < b.took; });
    return *middle;
  }

  const KernelBench& options_;
  const ActivationFormat activations_;
  Report& report_;
  Backend backend_;  // without its ops
  ProfiledOps ops_;
  int next_call_ = 0;  // goes on from round to round, so that copies take turns
};

}  // namespace latentd
