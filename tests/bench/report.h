// What a run of the bench measured: the machine, its ceilings, and figures beside the ceiling that binds each of them.
// Printed line by line as it grows, and written as JSON for `bench compare`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kernels/op_cost.h"
#include "tests/bench/machine_roofs.h"

namespace latentd {

struct MachineFacts {
  std::string cpu;                 // as the kernel calls it
  int processors = 0;              // that this process may use
  std::string instruction_set;     // that the kernels run on
  std::vector<std::string> flags;  // of those that matter to the kernels, what the CPU has
  std::string huge_pages;          // the kernel's setting
};
MachineFacts ThisMachine();

struct Figure {
  std::string name = {};  // one of a kind for its number of threads
  int threads = 0;
  double seconds = 0.0;     // of one call or step
  OpCost cost = {};         // of the same
  double tile_flops = 0.0;  // of cost.flops, those that tiles compute where there are any
  double tokens = 0.0;      // of the same; 0: nothing to be told as tokens/s
  double share = 0.0;       // of the step that it is a part of; 0: it is none. Parts of less than 1 % are not printed
  // Where drafts are made, else 0: the tokens that a step gives a row, and the speed beside that without drafts, as
  // measured and as those tokens and the steps' seconds predict it.
  double row_tokens = 0.0;
  double speedup = 0.0;
  double predicted_speedup = 0.0;
};

// The ceiling that leaves a figure the least room. A verb without products reads what the caches hold: none binds it.
struct Binding {
  std::string roof;       // "read", "fma", "tiles" or "none"
  double fraction = 0.0;  // of it that was reached
};
Binding BindingOf(const Figure& figure, const Roofs& roofs);

class Report {
 public:
  Report(std::string command, std::string commit);

  // Measures ceilings and prints them, once for each number of threads.
  const Roofs& RoofsOf(int threads);
  void Add(const Figure& figure);
  absl::Status Write(const std::string& path) const;

 private:
  const std::string command_;
  const std::string commit_;
  const MachineFacts machine_;
  std::map<int, Roofs> roofs_;  // by threads
  std::vector<Figure> figures_;
};

// A table of two written reports, the change of each figure that both have, and the names that only one has.
absl::StatusOr<std::string> CompareReports(const std::string& before_path, const std::string& after_path);

}  // namespace latentd
