// What drafts gain: tokens per second of an engine that decodes with so many drafts a row, with as many as it chooses
// itself and with none, beside what their acceptance and the seconds of the steps predict.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/report.h"

namespace latentd {

struct SpeculationBench {
  std::filesystem::path directory = {};
  std::string name = {};  // of the model, in the figures
  int threads = 1;
  ActivationFormat activations = ActivationFormat::kF32;
  std::optional<double> acceptance = std::nullopt;  // of each draft; nothing: the model's own
  std::vector<int> streams = {1, 4, 16, 32};
  int most_drafts = 3;
  int tokens = 512;                               // of all streams of a run together
  int most_of_stream = 64, least_of_stream = 24;  // of these
  int rounds = 5;                                 // behind one that warms up and learns
};

void RunSpeculationBench(const SpeculationBench& options, Report& report);

}  // namespace latentd
