// Steps of a whole model - forward pass and sampling, without the scheduler, which schedule_bench measures - and what
// each verb has of them.
#pragma once

#include <filesystem>
#include <string>

#include "tests/bench/report.h"

namespace latentd {

struct ModelBench {
  std::filesystem::path directory = {};
  std::string name = {};  // of the model, in the figures
  int threads = 1;
  ActivationFormat activations = ActivationFormat::kF32;
  int decode_steps = 48;  // of a round
  int rounds = 3;         // the best median counts: what else runs on the machine only adds
  int step_tokens = 512;  // of a prompt at once
  int prompt_tokens = 2048;
  int long_context = 8192;  // cut to the model's
};

void RunModelBench(const ModelBench& options, Report& report);

}  // namespace latentd
