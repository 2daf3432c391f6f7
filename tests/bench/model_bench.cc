#include "tests/bench/model_bench.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include <absl/strings/str_format.h>

#include "base/now.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/model.h"
#include "engine/step/model_executor.h"
#include "kernels/backend.h"
#include "kernels/profiled_ops.h"
#include "tests/bench/tile_roof.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kStreams[] = {1, 8, 32}, kLongStreams[] = {1, 8};
constexpr int kMostStreams = 32, kMostLongStreams = 8;
constexpr int kShortContext = 64;

int BlocksOf(int tokens) { return (tokens + kBlockSlots - 1) / kBlockSlots; }

struct MeasuredStep {
  double seconds = 0.0;
  OpCost cost;
  double tile_flops = 0.0;
  std::map<std::string_view, Figure> verbs;  // without their names
};

class ModelRun {
 public:
  ModelRun(const ModelBench& options, Report& report) : options_(options), report_(report) {
    const ModelConfig config = OrDie(LoadModelConfig(options.directory));
    long_context_ = std::min(options.long_context, config.max_context - Decoded());
    prompt_tokens_ = std::min(options.prompt_tokens, long_context_);
    stream_blocks_ = BlocksOf(long_context_ + Decoded());
    vocab_size_ = config.vocab_size;
    backend_ = OrDie(MakeCpuBackend(options.threads));
    profiled_ = &ProfiledOps::Around(backend_.ops);
    Load(config);
    executor_ = std::make_unique<ModelExecutor>(*model_, backend_);
  }

  void All() {
    FillCache();
    for (const int streams : kStreams) Decode(streams, kShortContext);
    for (const int streams : kLongStreams) Decode(streams, long_context_);
    Prefill();
  }

 private:
  struct RowPlace {
    int stream = 0;
    int context = 0;  // that its stream is for
    int first_position = 0;
    int num_tokens = 0;
  };

  int Decoded() const { return options_.decode_steps; }
  int ShortBlocks() const { return BlocksOf(kShortContext + Decoded()); }
  // Streams with a long context have blocks of their own.
  int FirstBlock(int stream, int context) const {
    if (context > kShortContext) return 1 + stream * stream_blocks_;
    return 1 + kMostLongStreams * stream_blocks_ + stream * ShortBlocks();
  }

  void Load(const ModelConfig& config) {
    const TimePoint started = Now();
    const Checkpoint checkpoint = OrDie(Checkpoint::Open(options_.directory, config));
    model_ = OrDie(Model::Load(checkpoint, config,
                               {.num_blocks = FirstBlock(kMostStreams, kShortContext),
                                .max_tokens = std::max(options_.step_tokens, kMostStreams),
                                .max_rows = kMostStreams,
                                .max_logit_rows = kMostStreams,
                                .max_context = long_context_ + Decoded(),
                                .activations = options_.activations},
                               *backend_.device, *backend_.ops));
    std::printf("%s: %.2f GB read and packed in %.2f s\n", options_.name.c_str(),
                static_cast<double>(checkpoint.tensor_bytes()) * 1e-9, Seconds(Now() - started));
  }

  void AppendRow(const RowPlace& place, BatchInputs& step) {
    std::uniform_int_distribution<int32_t> ids(3, vocab_size_ - 1);
    const int end = place.first_position + place.num_tokens;
    const int first_block = FirstBlock(place.stream, place.context);
    step.rows.push_back({.first_token = step.num_tokens(),
                         .num_tokens = place.num_tokens,
                         .first_position = place.first_position,
                         .first_block = static_cast<int>(step.blocks.size())});
    for (int block = 0; block < BlocksOf(end); ++block) step.blocks.push_back(first_block + block);
    for (int position = place.first_position; position < end; ++position) {
      step.token_ids.push_back(ids(random_));
      step.positions.push_back(position);
      step.slots.push_back(first_block * kBlockSlots + position);
      step.token_rows.push_back(static_cast<int>(step.rows.size()) - 1);
    }
  }

  double Run(const BatchInputs& step, std::span<const SampleRow> samples) {
    const TimePoint started = Now();
    executor_->Launch(step, samples, {});
    executor_->Collect();
    return Seconds(Now() - started);
  }

  // A prompt's latents for the first stretch of the cache, copied to the rest of it: memory that was never written
  // would all be the same zero page.
  void FillCache() {
    const int stretch = std::min(options_.step_tokens, long_context_) / kBlockSlots * kBlockSlots;
    BatchInputs step;
    AppendRow({.context = long_context_, .num_tokens = stretch}, step);
    Run(step, {});
    const int first = FirstBlock(0, long_context_) * kBlockSlots;
    const int end = FirstBlock(kMostStreams, kShortContext) * kBlockSlots;
    for (int to = first + stretch; to < end; to += stretch) {
      model_->CopyLatents({.from = first, .to = to, .count = std::min(stretch, end - to)});
    }
  }

  void Decode(int streams, int context) {
    const std::vector<SampleRow> samples(static_cast<size_t>(streams),
                                         SampleRow{.rule = {.temperature = 0.6f, .top_p = 0.95f, .seed = 1}});
    std::vector<BatchInputs> steps(static_cast<size_t>(Decoded()));
    for (int i = 0; i < Decoded(); ++i) {
      BatchInputs& step = steps[static_cast<size_t>(i)];
      for (int stream = 0; stream < streams; ++stream) {
        AppendRow({.stream = stream, .context = context, .first_position = context + i, .num_tokens = 1}, step);
        step.logit_tokens.push_back(stream);
      }
    }
    Tell(absl::StrFormat("decode, %d streams at %d", streams, context), Measure(steps, samples), streams);
  }

  void Prefill() {
    std::vector<BatchInputs> steps;
    for (int first = 0; first < prompt_tokens_; first += options_.step_tokens) {
      const int num_tokens = std::min(options_.step_tokens, prompt_tokens_ - first);
      AppendRow({.context = long_context_, .first_position = first, .num_tokens = num_tokens}, steps.emplace_back());
    }
    Tell(absl::StrFormat("prefill, %d tokens", prompt_tokens_), Measure(steps, {}),
         static_cast<double>(prompt_tokens_) / static_cast<double>(steps.size()));
  }

  // The mean cost of the steps, and their time: the median of a decode's, the mean of a prompt's, whose steps differ.
  MeasuredStep Measure(const std::vector<BatchInputs>& steps, std::span<const SampleRow> samples) {
    MeasuredStep best = Recorded(steps, samples);  // warms up, too
    best.seconds = 1e30;
    for (int round = 0; round < options_.rounds; ++round) {
      std::vector<double> seconds;
      double sum = 0.0;
      for (const BatchInputs& step : steps) {
        seconds.push_back(Run(step, samples));
        sum += seconds.back();
      }
      const auto middle = seconds.begin() + std::ssize(seconds) / 2;
      std::nth_element(seconds.begin(), middle, seconds.end());
      best.seconds = std::min(best.seconds, samples.empty() ? sum / static_cast<double>(steps.size()) : *middle);
    }
    return best;
  }

  // What the steps touch, by verb, from the routers' own choices.
  MeasuredStep Recorded(const std::vector<BatchInputs>& steps, std::span<const SampleRow> samples) {
    const std::shared_ptr<const ProfileRecording> recording = profiled_->Record(static_cast<int>(steps.size()));
    CHECK(recording != nullptr);
    for (const BatchInputs& step : steps) Run(step, samples);
    MeasuredStep mean;
    const double share = 1.0 / static_cast<double>(steps.size());
    for (const ProfiledStep& step : recording->steps()) {
      for (const ProfiledCall& call : step.calls) {
        const OpCost part = {.bytes = share * call.cost.bytes, .flops = share * call.cost.flops};
        Figure& verb = mean.verbs[call.verb];
        verb.seconds += share * Seconds(call.took);
        verb.cost += part;
        if (call.cost.flops == 0) continue;  // neither weights nor latents
        mean.cost += part;
        const double tile_flops = share * TileFlops(call.verb, call.cost, options_.activations);
        verb.tile_flops += tile_flops;
        mean.tile_flops += tile_flops;
      }
    }
    return mean;
  }

  void Tell(const std::string& what, const MeasuredStep& step, double tokens) {
    const std::string name =
        absl::StrFormat("%s, %s inputs: %s", options_.name, std::string(NameOf(options_.activations)), what);
    report_.Add({.name = name,
                 .threads = options_.threads,
                 .seconds = step.seconds,
                 .cost = step.cost,
                 .tile_flops = step.tile_flops,
                 .tokens = tokens});
    double seconds = 0.0;
    for (const auto& [verb, figure] : step.verbs) seconds += figure.seconds;
    for (const auto& [verb, figure] : step.verbs) {
      Figure part = figure;
      part.name = absl::StrFormat("%s: %s", name, std::string(verb));
      part.threads = options_.threads;
      part.share = figure.seconds / seconds;
      report_.Add(part);
    }
  }

  const ModelBench& options_;
  Report& report_;
  std::mt19937 random_{1};
  Backend backend_;
  ProfiledOps* profiled_ = nullptr;  // backend_'s
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelExecutor> executor_;
  int vocab_size_ = 0;
  int long_context_ = 0, prompt_tokens_ = 0, stream_blocks_ = 0;
};

}  // namespace

void RunModelBench(const ModelBench& options, Report& report) { ModelRun(options, report).All(); }

}  // namespace latentd
