#include "engine/load/load_model.h"

#include <algorithm>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "base/clock.h"
#include "base/placement.h"
#include "base/processors.h"
#include "engine/load/bytes_read.h"
#include "engine/load/choose_drafts.h"
#include "engine/load/model_name.h"
#include "engine/load/sizing.h"
#include "engine/load/step_memory.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/step/calibration.h"
#include "engine/step/model_executor.h"

namespace latentd {
namespace {

// The last minute of a busy engine, in 1.25 MiB.
constexpr size_t kRecordedDecisions = 1 << 15;
constexpr size_t kKvEvents = 2048;  // as many as a prefix of 128k tokens has blocks

absl::StatusOr<int> MaxContext(const LoadOptions& options, const ModelConfig& config) {
  if (options.max_context_tokens == 0) return config.max_context;
  if (options.max_context_tokens <= config.max_context) return static_cast<int>(options.max_context_tokens);
  return absl::InvalidArgumentError(absl::StrFormat("max-context-tokens=%d is more than the model's %d; lower it",
                                                    options.max_context_tokens, config.max_context));
}

// Comma-separated, as --eos-token-ids has them.
absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text, int vocab_size) {
  std::vector<int32_t> ids;
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    int32_t id = -1;
    if (!absl::SimpleAtoi(part, &id) || id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrFormat("eos-token-ids: expected ids from 0 to %d, separated by commas, found \"%s\"", vocab_size - 1,
                          absl::Utf8SafeCEscape(part)));
    }
    ids.push_back(id);
  }
  return ids;
}

// vLLM and SGLang end at what any of the files names, the tokenizer's included.
absl::Status AddEosIds(const LoadOptions& options, const Tokenizer* tokenizer, ModelConfig& config) {
  absl::StatusOr<std::vector<int32_t>> ids = ParseIds(options.eos_token_ids, config.vocab_size);
  if (!ids.ok()) return ids.status();
  if (tokenizer != nullptr && tokenizer->eos_id().value_or(config.vocab_size) < config.vocab_size) {
    ids->insert(ids->begin(), *tokenizer->eos_id());
  }
  for (const int32_t id : *ids) {
    if (std::find(config.eos_ids.begin(), config.eos_ids.end(), id) == config.eos_ids.end())
      config.eos_ids.push_back(id);
  }
  if (config.eos_ids.empty()) {
    config.warnings.emplace_back(
        "no file of the model names an end-of-sequence token: answers end at max_tokens or the request's own stops; "
        "--eos-token-ids names it");
  }
  return absl::OkStatus();
}

VocabularyRules RulesOf(const ModelConfig& config, const Tokenizer* tokenizer) {
  VocabularyRules rules{.eos_ids = config.eos_ids, .has_token = {}};
  if (tokenizer == nullptr) return rules;
  for (int32_t id = 0; id < config.vocab_size; ++id) rules.has_token.push_back(tokenizer->HasToken(id) ? 1 : 0);
  return rules;
}

// Valid while its arguments live.
MemoryFacts MemoryOf(const LoadOptions& options, const LoadedModel& loaded, const Checkpoint& checkpoint,
                     const ModelConfig& config, const ChosenDrafts& drafts) {
  const int context = MaxContext(options, config).value_or(config.max_context);  // it was checked
  return {.available_bytes = loaded.chosen.backend.device->AvailableBytes(),
          .weight_bytes = checkpoint.tensor_bytes(),
          .block_bytes = LatentCache::BytesPerBlock(config, drafts.mtp(), loaded.numerics.latents),
          .step_bytes = [&, context](int tokens) {
            const ModelLimits limits =
                LimitsFor(options, loaded.chosen, loaded.numerics,
                          {.tokens = tokens, .max_drafts = drafts.max_drafts, .context = context});
            return StepBytes(options, config, loaded.chosen, limits);
          }};
}

struct Sizes {
  int context = 0;
  int step_tokens = 0;
  CacheSize cache;
  ChosenDrafts drafts;
};

absl::StatusOr<Sizes> SizesOf(const LoadOptions& options, const ModelConfig& config, const MemoryFacts& memory) {
  absl::StatusOr<int> context = MaxContext(options, config);
  if (!context.ok()) return context.status();
  Sizes sizes{.context = *context, .step_tokens = StepTokens(options, memory), .cache = {}, .drafts = {}};
  absl::StatusOr<CacheSize> cache = CacheBlocks(options, memory, *context, sizes.step_tokens);
  if (!cache.ok()) return cache.status();
  sizes.cache = *std::move(cache);
  // Only an operator who asks for more than the cache holds gets requests that can never fit.
  if (options.max_context_tokens == 0) sizes.context = std::min(*context, (sizes.cache.num_blocks - 1) * kBlockSlots);
  return sizes;
}

EngineOptions OptionsFor(const LoadOptions& options, const Sizes& sizes) {
  const int rows = static_cast<int>(options.max_rows);
  return {.scheduler = {.cache = {.num_blocks = sizes.cache.num_blocks},
                        .prefix_cache = options.prefix_cache,
                        .max_step_tokens = sizes.step_tokens,
                        .max_step_rows = rows,
                        .max_step_logits = MostStepLogits(options, sizes.drafts.max_drafts, sizes.step_tokens),
                        .max_started = static_cast<int>(options.max_started > 0 ? options.max_started : 4 * rows),
                        .max_drafts = sizes.drafts.max_drafts,
                        .max_context_tokens = sizes.context,
                        .slow_consumer_seconds = options.slow_consumer_seconds,
                        .ageing_seconds = options.ageing_seconds,
                        .tenants = options.tenants,
                        .num_kv_events = kKvEvents,
                        .num_recorded = kRecordedDecisions},
          .step = {.max_step_seconds = options.max_step_seconds}};
}

// Measures the rate and decides what depends on it.
void Calibrate(const LoadOptions& options, LoadedModel& loaded) {
  const SchedulerOptions& scheduler = loaded.engine.scheduler;
  ModelExecutor executor(*loaded.model, loaded.chosen.backend);
  const MeasuredRate rate =
      MeasureRate(executor,
                  {.max_tokens = std::min(scheduler.max_step_tokens, scheduler.max_context_tokens),
                   .num_blocks = scheduler.cache.num_blocks,
                   .vocab_size = loaded.model->config().vocab_size,
                   .max_context = scheduler.max_context_tokens},
                  SteadyClock());
  loaded.engine.step.tokens_per_second = rate.tokens_per_second;
  loaded.engine.step.work_per_key = rate.work_per_key;
  loaded.max_queued_tokens = QueuedTokens(options, rate.tokens_per_second, scheduler.max_context_tokens);
}

void ReportThreads(const LoadOptions& options, LoadedModel& loaded) {
  if (loaded.chosen.is_cuda()) return;
  const cpu::ComputeThreads granted = cpu::FindComputeThreads();
  // It was valid when the backend was made.
  const cpu::Placement placement =
      cpu::PlaceThreads(options.pin_threads, static_cast<int>(options.threads)).value_or(cpu::Placement());
  const bool is_granted = options.threads == 0 && placement.num_threads == granted.count;
  const bool is_pinned = !placement.processors.empty();
  const std::string processors = cpu::ProcessorsText(placement.processors);
  loaded.sizes.push_back(absl::StrFormat("threads: %d (%s%s)%s", placement.num_threads,
                                         is_granted ? "" : "as asked; the machine grants: ", granted.reason,
                                         is_pinned ? absl::StrCat(", pinned to ", processors) : ""));
  loaded.derived.emplace_back("threads", std::to_string(placement.num_threads));
  loaded.derived.emplace_back("pin-threads", is_pinned ? processors : "off");
}

// The derived sizes, for the log and for GetConfig.
void Report(const LoadOptions& options, const Sizes& sizes, LoadedModel& loaded) {
  const int64_t slots = int64_t{sizes.cache.num_blocks - 1} * kBlockSlots;
  const double rate = loaded.engine.step.tokens_per_second;
  loaded.sizes.push_back(
      absl::StrFormat("device: %s (%s)", loaded.chosen.device, loaded.chosen.backend.device->Describe()));
  loaded.sizes.push_back(absl::StrFormat(
      "cache: %s blocks of %d tokens hold %s tokens as %s in %.1f MiB (%s)", Grouped(sizes.cache.num_blocks - 1),
      kBlockSlots, Grouped(slots), std::string(NameOf(loaded.numerics.latents)),
      static_cast<double>(loaded.model->cache_bytes()) / 0x1p20, sizes.cache.reason));
  if (sizes.context > slots) {
    loaded.warnings.push_back(
        absl::StrFormat("max-context-tokens=%d is more than the %d tokens of the cache: longer requests get "
                        "KV_CAPACITY_EXCEEDED; raise "
                        "kv-blocks or lower it",
                        sizes.context, slots));
  }
  loaded.sizes.push_back(absl::StrFormat(
      "step: at most %s tokens (%s tokens/s measured x max-step-seconds=%g, max-step-tokens=%d); queue: "
      "at most %d requests, %s tokens",
      Grouped(std::min<int64_t>(sizes.step_tokens, static_cast<int64_t>(rate * options.max_step_seconds))),
      Grouped(static_cast<int64_t>(rate)), options.max_step_seconds, sizes.step_tokens, options.max_queued_requests,
      Grouped(loaded.max_queued_tokens)));
  loaded.sizes.push_back(absl::StrCat("speculation: ", sizes.drafts.reason));
  if (!sizes.drafts.warning.empty()) loaded.warnings.push_back(sizes.drafts.warning);
  loaded.derived = {{"device", loaded.chosen.device},
                    {"max-started", std::to_string(loaded.engine.scheduler.max_started)},
                    {"activations", std::string(NameOf(loaded.numerics.activations))},
                    {"max-context-tokens", std::to_string(sizes.context)},
                    {"kv-blocks", std::to_string(sizes.cache.num_blocks)},
                    {"kv-bytes", std::to_string(loaded.model->cache_bytes())},
                    {"kv-dtype", std::string(NameOf(loaded.numerics.latents))},
                    {"max-step-tokens", std::to_string(sizes.step_tokens)},
                    {"max-queued-tokens", std::to_string(loaded.max_queued_tokens)}};
  if (sizes.drafts.max_drafts == 0) loaded.derived.emplace_back("speculate", "off");
  ReportThreads(options, loaded);
}

void Describe(const LoadOptions& options, const Checkpoint& checkpoint, LoadedModel& loaded) {
  const ModelConfig& config = loaded.model->config();
  ModelDescription& description = loaded.description;
  description.name = ModelName(options.model_directory);
  description.quantization = QuantizationOf(checkpoint, config);
  description.revision = absl::StrFormat("%016x%016x", config.digest, checkpoint.Digest());
  description.fingerprint =
      FingerprintOf(loaded.numerics, loaded.chosen, config, description.quantization, description.revision);
  loaded.sizes.push_back(absl::StrFormat("numerics: activations=%s, fingerprint %s",
                                         std::string(NameOf(loaded.numerics.activations)), description.fingerprint));
}

// What text needs of the model, and adds to what its configuration says.
absl::Status TakeText(const LoadOptions& options, ModelConfig& config, LoadedModel& loaded) {
  absl::StatusOr<ModelText> text = LoadText(options);
  if (!text.ok()) return text.status();
  loaded.text = *std::move(text);
  return AddEosIds(options, loaded.text.tokenizer.get(), config);
}

void Append(const std::vector<std::string>& lines, std::vector<std::string>& all) {
  all.insert(all.end(), lines.begin(), lines.end());
}

// Sizes what the weights leave room for, and reads them: each byte of the checkpoint once.
absl::StatusOr<Sizes> TakeWeights(const LoadOptions& options, const Checkpoint& checkpoint, const ModelConfig& config,
                                  LoadedModel& loaded) {
  const absl::StatusOr<Numerics> numerics = ChooseNumerics(options, checkpoint, config, loaded.chosen);
  if (!numerics.ok()) return numerics.status();
  loaded.numerics = *numerics;
  const absl::StatusOr<ChosenDrafts> drafts = ChooseDrafts(options, checkpoint);
  if (!drafts.ok()) return drafts.status();
  absl::StatusOr<Sizes> sizes = SizesOf(options, config, MemoryOf(options, loaded, checkpoint, config, *drafts));
  if (!sizes.ok()) return sizes;
  sizes->drafts = *drafts;
  loaded.engine = OptionsFor(options, *sizes);
  loaded.engine.vocabulary = RulesOf(config, loaded.text.tokenizer.get());
  const Backend& backend = loaded.chosen.backend;
  ModelLimits limits =
      LimitsFor(options, loaded.chosen, loaded.numerics,
                {.tokens = sizes->step_tokens, .max_drafts = drafts->max_drafts, .context = sizes->context});
  limits.num_blocks = sizes->cache.num_blocks;
  absl::StatusOr<std::unique_ptr<Model>> model = Model::Load(checkpoint, config, limits, *backend.device, *backend.ops);
  if (!model.ok()) return model.status();
  loaded.model = *std::move(model);
  // What nothing computes.
  if (absl::Status status = checkpoint.CheckUnread(static_cast<int>(options.threads)); !status.ok()) return status;
  return sizes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadModel(const LoadOptions& options, OnRead on_read) {
  absl::StatusOr<ModelConfig> config =
      LoadModelConfig(options.model_directory, GenerationSourceOf(options.generation_config));
  if (!config.ok()) return config.status();
  if (absl::Status status = CheckComputable(*config); !status.ok()) return status;
  if (absl::StatusOr<int> context = MaxContext(options, *config); !context.ok()) return context.status();

  auto loaded = std::make_unique<LoadedModel>();
  const SteadyClock clock;
  const TimePoint text_started = clock.Now();
  if (absl::Status status = TakeText(options, *config, *loaded); !status.ok()) return status;
  const TimePoint weights_started = clock.Now();
  loaded->tokenizer_seconds = Seconds(weights_started - text_started);
  absl::StatusOr<ChosenBackend> chosen = ChooseBackend(options);
  if (!chosen.ok()) return chosen.status();
  loaded->chosen = *std::move(chosen);
  if (!loaded->chosen.is_cuda()) loaded->profiled_ops = &ProfiledOps::Around(loaded->chosen.backend.ops);
  const TimePoint reading_started = clock.Now();
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(options.model_directory, *config, std::move(on_read));
  if (!checkpoint.ok()) return checkpoint.status();
  if (checkpoint->packed_file() != nullptr && loaded->chosen.is_cuda()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("device: expected the CPU, for which %s is packed, found %s; serve the directory that it was "
                        "packed from, or set device=cpu",
                        options.model_directory, loaded->chosen.device));
  }
  config->num_mtp_layers = checkpoint->num_mtp_layers();
  Append(config->warnings, loaded->warnings);
  Append(loaded->text.warnings, loaded->warnings);
  Append(checkpoint->warnings(), loaded->warnings);

  const absl::StatusOr<Sizes> sizes = TakeWeights(options, *checkpoint, *config, *loaded);
  if (!sizes.ok()) return sizes.status();
  const TimePoint read = clock.Now();
  loaded->sizes.push_back(SummaryText({.read = checkpoint->tensor_bytes(),
                                       .total = checkpoint->tensor_bytes(),
                                       .seconds = Seconds(read - reading_started)}));
  loaded->weights_seconds = Seconds(read - weights_started);
  Calibrate(options, *loaded);
  Report(options, *sizes, *loaded);
  Describe(options, *checkpoint, *loaded);
  return loaded;
}

}  // namespace latentd
