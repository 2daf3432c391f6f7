#include "tests/bench/speculation_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include <absl/strings/str_format.h>

#include "base/now.h"
#include "engine/metrics.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/model.h"
#include "engine/schedule/block_id.h"
#include "engine/step/engine.h"
#include "engine/step/model_executor.h"
#include "kernels/backend.h"
#include "kernels/profiled_ops.h"
#include "tests/bench/forced_drafts.h"
#include "tests/bench/tile_roof.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kFirstSteps = 4;  // of a run: they bring the streams in step
constexpr size_t kStepsToLearn = 100;
constexpr int kMostPasses = 1 << 14;  // of a run, of model and module together

double MedianOf(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The steps of a run in which all streams decode.
struct DecodeSteps {
  std::vector<double> seconds;
  double tokens = 0.0;
  TokensBySeed streams;

  double Rate() const { return tokens / std::accumulate(seconds.begin(), seconds.end(), 0.0); }
};

// One number of drafts. Its engine lives on from round to round, so that auto has learnt when it counts.
struct Mode {
  int num_drafts = 0;
  Metrics metrics;
  std::unique_ptr<Engine> engine;
  std::vector<double> rates;        // tokens/s, of each round
  std::vector<double> steps;        // seconds of its median step
  double tokens = 0.0, rows = 0.0;  // of all rounds' steps: rows as often as they had tokens
  OpCost cost;                      // of a token
  double tile_flops = 0.0;

  std::string Name() const {
    if (num_drafts == kAutoDrafts) return "auto";
    return num_drafts == 0 ? "no drafts" : absl::StrFormat("%d drafts", num_drafts);
  }
};

class SpeculationRun {
 public:
  SpeculationRun(const SpeculationBench& options, Report& report) : options_(options), report_(report) {
    const ModelConfig config = OrDie(LoadModelConfig(options.directory));
    first_id_ = config.bos_id.value_or(0);
    most_streams_ = *std::max_element(options.streams.begin(), options.streams.end());
    backend_ = OrDie(MakeCpuBackend(options.threads));
    profiled_ = &ProfiledOps::Around(backend_.ops);
    const Checkpoint checkpoint = OrDie(Checkpoint::Open(options.directory, config));
    model_ = OrDie(Model::Load(checkpoint, config,
                               {.num_blocks = NumBlocks(),
                                .max_tokens = MostTokens(),
                                .max_rows = most_streams_,
                                .max_logit_rows = MostTokens(),
                                .max_context = MostContext(),
                                .activations = options.activations,
                                .loads_mtp = MtpUse::kDraft},
                               *backend_.device, *backend_.ops));
    executor_ = std::make_unique<ModelExecutor>(*model_, backend_);
    if (options.acceptance) forced_ = std::make_unique<ForcedDrafts>(*executor_, right_, *options.acceptance);
  }

  void All() {
    for (const int streams : options_.streams) {
      std::vector<std::unique_ptr<Mode>> modes = Modes();
      for (const auto& mode : modes) WarmUp(streams, *mode);
      for (int round = 0; round < options_.rounds; ++round) {
        for (const auto& mode : modes) Measure(streams, *mode);
      }
      Tell(streams, modes);
    }
    std::printf("%s: auto is at least %.3f x as fast as no drafts; speed-ups are within %.1f %% of the prediction\n",
                NameOfRun().c_str(), least_auto_, 100.0 * furthest_);
    std::fflush(stdout);
  }

 private:
  int MostContext() const { return 1 + options_.most_of_stream; }
  // Room for one more each: a sequence starts only where others have some to grow.
  int NumBlocks() const { return 1 + most_streams_ * (1 + BlocksFor(MostContext() + options_.most_drafts)); }
  int MostTokens() const { return most_streams_ * (1 + options_.most_drafts); }
  // Enough that some steps count even if every draft of every step is right.
  int TokensOfStream(int streams) const {
    const int least = (1 + kFirstSteps) * (1 + options_.most_drafts) + options_.most_drafts;
    return std::clamp(options_.tokens / streams, std::max(least, options_.least_of_stream), options_.most_of_stream);
  }
  std::string NameOfRun() const {
    const std::string acceptance =
        options_.acceptance ? absl::StrFormat(", acceptance %.2f", *options_.acceptance) : "";
    return absl::StrFormat("%s%s, %s inputs", options_.name, acceptance, std::string(NameOf(options_.activations)));
  }

  // Without drafts, then with 1, 2 …, then auto.
  std::vector<std::unique_ptr<Mode>> Modes() {
    StepExecutor& executor = forced_ ? static_cast<StepExecutor&>(*forced_) : *executor_;
    const EngineOptions options = {.scheduler = {.cache = {.num_blocks = NumBlocks()},
                                                 .prefix_cache = PrefixCacheMode::kOff,
                                                 .max_step_tokens = MostTokens(),
                                                 .max_step_rows = most_streams_,
                                                 .max_step_logits = MostTokens(),
                                                 .max_drafts = options_.most_drafts,
                                                 .max_context_tokens = MostContext()},
                                   .step = {.max_step_seconds = std::numeric_limits<double>::infinity()}};
    std::vector<std::unique_ptr<Mode>> modes;
    for (int k = 0; k <= options_.most_drafts + 1; ++k) {
      modes.push_back(std::make_unique<Mode>());
      modes.back()->num_drafts = k <= options_.most_drafts ? k : kAutoDrafts;
      modes.back()->engine = std::make_unique<Engine>(executor, options, modes.back()->metrics);
    }
    return modes;
  }

  Request RequestOf(int stream, int num_tokens, int max_drafts) const {
    Request request{.id = static_cast<RequestId>(stream) + 1, .max_drafts = max_drafts};
    request.prompt = {first_id_};
    request.sampling = {.temperature = 0.6f, .top_p = 0.95f, .seed = static_cast<uint64_t>(stream)};
    request.stopping = {.max_tokens = num_tokens, .ignore_eos = true};
    return request;
  }

  // Where a stream is about to end, fewer drafts are made.
  bool IsNearEnd(const TokensBySeed& streams) const {
    const auto most = static_cast<size_t>(1 + TokensOfStream(static_cast<int>(streams.size())) - options_.most_drafts);
    return std::any_of(streams.begin(), streams.end(),
                       [most](const auto& stream) { return stream.second.size() >= most; });
  }

  DecodeSteps Run(int streams, Mode& mode) {
    DecodeSteps run;
    for (int stream = 0; stream < streams; ++stream) {
      const Request request = RequestOf(stream, TokensOfStream(streams), mode.num_drafts);
      run.streams[request.sampling.seed] = request.prompt;
      CHECK(mode.engine->Add(request).ok());
    }
    const SteadyClock clock;
    StepOutput output;
    for (int index = 0;; ++index) {
      const TimePoint started = clock.Now();
      std::optional<StepInFlight> step = mode.engine->Begin(started);
      if (!step) break;
      mode.engine->Complete(*std::move(step), clock, output);
      const double seconds = Seconds(clock.Now() - started);
      for (const SequenceOutput& sequence : output.sequences) {
        std::vector<int32_t>& tokens = run.streams.at(sequence.id.request - 1);
        for (const SampleResult& token : output.TokensOf(sequence)) tokens.push_back(token.id);
      }
      if (index < kFirstSteps || std::ssize(output.sequences) < streams || IsNearEnd(run.streams)) continue;
      run.seconds.push_back(seconds);
      run.tokens += static_cast<double>(output.tokens.size());
    }
    CHECK(!run.seconds.empty());
    if (mode.num_drafts == 0) right_ = run.streams;
    CHECK(run.streams == right_ && "drafts change no token");
    return run;
  }

  // What a token costs is recorded here, which takes time of its own.
  void WarmUp(int streams, Mode& mode) {
    const std::shared_ptr<const ProfileRecording> recording = profiled_->Record(kMostPasses);
    CHECK(recording != nullptr);
    const DecodeSteps run = Run(streams, mode);
    const double share = 1.0 / (streams * TokensOfStream(streams));
    for (const ProfiledStep& pass : recording->steps()) {
      for (const ProfiledCall& call : pass.calls) {
        if (call.cost.flops == 0) continue;  // neither weights nor latents
        mode.cost += {.bytes = share * call.cost.bytes, .flops = share * call.cost.flops};
        mode.tile_flops += share * TileFlops(call.verb, call.cost, options_.activations);
      }
    }
    if (mode.num_drafts != kAutoDrafts) return;
    for (size_t steps = run.seconds.size(); steps < kStepsToLearn;) steps += Run(streams, mode).seconds.size();
  }

  void Measure(int streams, Mode& mode) {
    const DecodeSteps run = Run(streams, mode);
    mode.rates.push_back(run.Rate());
    mode.steps.push_back(MedianOf(run.seconds));
    mode.tokens += run.tokens;
    mode.rows += static_cast<double>(streams * std::ssize(run.seconds));
  }

  // What a step with so many drafts gives a row: by the forced acceptance, else as it was.
  double TokensOfRow(const Mode& mode) const {
    if (!options_.acceptance) return mode.tokens / mode.rows;
    double tokens = 1.0, reached = 1.0;
    for (int draft = 0; draft < mode.num_drafts; ++draft) tokens += reached *= *options_.acceptance;
    return tokens;
  }

  // The median of all rounds: the runs of a round follow each other, and what else uses the machine comes and goes.
  static double TimesOf(const std::vector<double>& these, const std::vector<double>& others) {
    std::vector<double> times;
    for (size_t round = 0; round < these.size(); ++round) times.push_back(these[round] / others[round]);
    return MedianOf(std::move(times));
  }

  void Tell(int streams, const std::vector<std::unique_ptr<Mode>>& modes) {
    const Mode& none = *modes.front();
    double best = 1.0;
    for (const auto& mode : modes) {
      const double speedup = TimesOf(mode->rates, none.rates);
      const bool is_auto = mode->num_drafts == kAutoDrafts;
      const double predicted = is_auto ? best : TokensOfRow(*mode) * TimesOf(none.steps, mode->steps);
      best = std::max(best, speedup);
      report_.Add({.name = absl::StrFormat("%s: decode, %d streams, %s", NameOfRun(), streams, mode->Name()),
                   .threads = options_.threads,
                   .seconds = 1.0 / MedianOf(mode->rates),
                   .cost = mode->cost,
                   .tile_flops = mode->tile_flops,
                   .tokens = 1.0,
                   .row_tokens = mode->tokens / mode->rows,
                   .speedup = speedup,
                   .predicted_speedup = predicted});
      if (is_auto) {
        least_auto_ = std::min(least_auto_, speedup);
      } else {
        furthest_ = std::max(furthest_, std::abs(speedup / predicted - 1.0));
      }
    }
  }

  const SpeculationBench& options_;
  Report& report_;
  Backend backend_;
  ProfiledOps* profiled_ = nullptr;  // backend_'s
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelExecutor> executor_;
  TokensBySeed right_;  // of the number of streams at hand
  std::unique_ptr<ForcedDrafts> forced_;
  int32_t first_id_ = 0;
  int most_streams_ = 0;
  double least_auto_ = std::numeric_limits<double>::infinity(), furthest_ = 0.0;
};

}  // namespace

void RunSpeculationBench(const SpeculationBench& options, Report& report) { SpeculationRun(options, report).All(); }

}  // namespace latentd
