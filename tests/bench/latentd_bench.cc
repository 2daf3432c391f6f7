// Tokens per second of the whole engine - scheduler, forward pass, sampling; no gRPC - on the bundled model, beside
// what the machine could do, measured in the same run. Usage: latentd_bench [model directory [threads
// [activations]]], the last as the daemon's knob.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include <hwy/highway.h>

#include "base/check.h"
#include "engine/load/load_model.h"
#include "engine/step/engine.h"
#include "engine/step/model_executor.h"
#include "tests/bench/machine_roofs.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kMaxStreams = 32;
constexpr int kDecodePrompt = 64;
constexpr int kDecodeTokens = 256;
constexpr int kPrefillPrompt = 1024;
constexpr int kPrefills = 4;
constexpr int kMaxStepTokens = 512;
constexpr int kContext = 2048;  // of each stream

// What a step of some rows has to do, from the shapes: multiplications with weights and over cached latents, and the
// bytes of the weights that it touches (routed experts as if drawn evenly).
struct Work {
  double flops = 0.0;
  double weight_bytes = 0.0;
};

double ProjectionWeights(const ModelConfig& config) {
  const AttentionShape& a = config.attention;
  const double d = config.hidden_size, heads = a.num_heads;
  const double query_inputs = config.query_latent_width > 0 ? config.query_latent_width : d;
  return d * config.query_latent_width + query_inputs * heads * a.query_width() + d * (a.latent_width + a.rope_width) +
         heads * (a.nope_width + a.value_width) * a.latent_width + heads * a.value_width * d;
}

Work WorkOf(const ModelConfig& config, double rows, double logit_rows, double keys) {
  const AttentionShape& a = config.attention;
  const double weight_bytes = config.quantization.declared_fp8 ? 1.0 : 2.0;
  const double expert = 3.0 * config.hidden_size * config.expert_width;
  const double shared = 3.0 * config.hidden_size * config.shared_expert_width;
  const double experts = config.routing.num_experts, per_token = config.routing.experts_per_token;
  const double touched = experts > 0 ? experts * (1.0 - std::pow(1.0 - per_token / experts, rows)) : 0.0;
  Work work;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const double dense = 3.0 * config.hidden_size * config.dense_width;
    const double used = config.IsMoe(layer) ? per_token * expert + shared : dense;
    const double read = config.IsMoe(layer) ? touched * expert + shared : dense;
    work.flops += 2.0 * rows * (ProjectionWeights(config) + used);
    work.flops += 2.0 * rows * keys * a.num_heads * (2.0 * a.latent_width + a.rope_width);
    work.weight_bytes += weight_bytes * (ProjectionWeights(config) + read);
  }
  const double head = static_cast<double>(config.hidden_size) * config.vocab_size;
  work.flops += 2.0 * logit_rows * head;
  work.weight_bytes += logit_rows > 0 ? 2.0 * head : 0.0;
  return work;
}

struct Measured {
  double seconds = 0.0;
  int64_t tokens = 0;
  int64_t steps = 0;
};

class Bench {
 public:
  explicit Bench(const LoadOptions& options) : loaded_(Load(options)) {}

  // Runs `streams` requests to their end and measures the steps in which no prompt is left, or those with prompts.
  Measured Run(int streams, int prompt_tokens, int output_tokens, bool measure_decode) {
    ModelExecutor executor(*loaded_->model, loaded_->chosen.backend);
    Metrics metrics;
    Engine engine(executor, Options(), metrics);
    std::mt19937 random(1);
    for (int stream = 0; stream < streams; ++stream) {
      CHECK(engine.Add(RequestOf(stream, prompt_tokens, output_tokens, random)).ok());
    }
    const SteadyClock clock;
    StepOutput output;
    Measured measured;
    for (;;) {
      const TimePoint begin = std::chrono::steady_clock::now();
      std::optional<StepInFlight> step = engine.Begin(begin);
      if (!step) return measured;
      engine.Complete(*std::move(step), clock, output);
      const TimePoint end = std::chrono::steady_clock::now();
      const bool is_decode = output.num_rows == streams && output.num_tokens == streams;
      if (is_decode != measure_decode || output.num_rows == 0) continue;
      measured.seconds += Seconds(end - begin);
      measured.tokens += output.num_tokens;
      ++measured.steps;
    }
  }

  const ModelConfig& config() const { return loaded_->model->config(); }

 private:
  static std::unique_ptr<LoadedModel> Load(const LoadOptions& options) { return OrDie(LoadModel(options)); }
  // As the daemon runs, but for steps whose size only kMaxStepTokens bounds: measured rates differ from run to run.
  EngineOptions Options() const {
    return {.scheduler = loaded_->engine.scheduler,
            .step = {.max_step_seconds = 10.0, .first_tokens = kMaxStepTokens},
            .vocabulary = loaded_->engine.vocabulary};
  }
  Request RequestOf(int stream, int prompt_tokens, int output_tokens, std::mt19937& random) const {
    std::uniform_int_distribution<int32_t> ids(3, config().vocab_size / 2);
    Request request{.id = static_cast<RequestId>(stream) + 1};
    for (int i = 0; i < prompt_tokens; ++i) request.prompt.push_back(ids(random));
    request.sampling = {.temperature = 0.6f, .top_p = 0.95f, .seed = static_cast<uint64_t>(stream)};
    request.stopping = {.max_tokens = output_tokens, .ignore_eos = true};
    return request;
  }

  const std::unique_ptr<LoadedModel> loaded_;
};

struct Roofs {
  double flops = 0.0;
  double bytes = 0.0;
};

void Print(const char* what, int streams, const Measured& measured, const Work& step, const Roofs& roofs) {
  const double flops = step.flops * static_cast<double>(measured.steps) / measured.seconds;
  const double bytes = step.weight_bytes * static_cast<double>(measured.steps) / measured.seconds;
  std::printf("%-8s %7d %10.0f %12.3f %9.2f %5.1f %% %9.2f %5.1f %%\n", what, streams,
              static_cast<double>(measured.tokens) / measured.seconds,
              1e3 * measured.seconds / static_cast<double>(measured.steps), flops * 1e-9, 100.0 * flops / roofs.flops,
              bytes * 1e-9, 100.0 * bytes / roofs.bytes);
}

// The instruction set that the kernels run on: the lowest bit is the best of those built and supported.
int64_t BestTarget() {
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return targets & -targets;
}

int Main(const std::string& directory, int threads, const std::string& activations) {
  const Roofs roofs = {MeasureFmaPeak(threads), MeasureReadBandwidth(threads)};
  std::printf("%s, %d threads, %s; measured in this run: fp32 FMA peak %.1f GFLOP/s, memory read %.1f GB/s\n",
              directory.c_str(), threads, hwy::TargetName(BestTarget()), roofs.flops * 1e-9, roofs.bytes * 1e-9);
  std::printf("%-8s %7s %10s %12s %9s %7s %9s %7s\n", "", "streams", "tokens/s", "ms per step", "GFLOP/s", "of peak",
              "GB/s", "of read");
  Bench bench({.model_directory = directory,
               .device = "cpu",
               .threads = threads,
               .kv_blocks = kMaxStreams * BlocksFor(kContext + 1) + 1,
               .activations = activations,
               .max_step_tokens = kMaxStepTokens,
               .max_rows = kMaxStreams});
  bench.Run(1, kDecodePrompt, kDecodeTokens, true);  // warms up caches and clocks
  for (const int streams : {1, 8, kMaxStreams}) {
    const Measured decode = bench.Run(streams, kDecodePrompt, kDecodeTokens, true);
    const double keys = kDecodePrompt + kDecodeTokens / 2;
    Print("decode", streams, decode, WorkOf(bench.config(), streams, streams, keys), roofs);
  }
  const Measured prefill = bench.Run(kPrefills, kPrefillPrompt, 1, false);
  const double rows = static_cast<double>(prefill.tokens) / static_cast<double>(prefill.steps);
  Print("prefill", kPrefills, prefill, WorkOf(bench.config(), rows, 1, kPrefillPrompt / 2), roofs);
  std::printf(
      "GB/s are bytes of weights touched per second; those of a small model come from the caches, not memory\n");
  return 0;
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  const std::string directory = argc > 1 ? argv[1] : "models/tiny-tales";
  const int threads = argc > 2 ? std::stoi(argv[2]) : static_cast<int>(std::thread::hardware_concurrency());
  return latentd::Main(directory, threads, argc > 3 ? argv[3] : "auto");
}
