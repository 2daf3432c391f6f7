// One stream beside a load that asks one well-behaved request after the other over a connection of its own: its
// latencies are a victim's.
#pragma once

#include <memory>
#include <thread>

#include <absl/status/statusor.h>

#include "tools/load/load_options.h"
#include "tools/load/runner.h"

namespace latentd {

class Probe {
 public:
  // Connected; null where the options want none.
  static absl::StatusOr<std::unique_ptr<Probe>> Make(const LoadOptions& load, const v1::Model& model);
  ~Probe();

  void Start();
  // Cuts its last request off.
  RunResult Finish();
  const LoadOptions& options() const { return options_; }

 private:
  Probe(LoadOptions options, Workload workload);

  const LoadOptions options_;
  const Workload workload_;
  Runner runner_;
  RunResult result_;
  std::thread thread_;
};

}  // namespace latentd
