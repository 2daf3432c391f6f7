#include "engine/load/load_model.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "base/clock.h"
#include "base/placement.h"
#include "base/processors.h"
#include "engine/load/bytes_read.h"
#include "engine/load/load_plan.h"
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
constexpr size_t kKvEvents = 8192;  // 3 MB: a reader may be half a million tokens behind

VocabularyRules RulesOf(const ModelConfig& config, const Tokenizer* tokenizer) {
  VocabularyRules rules{.eos_ids = config.eos_ids, .has_token = {}};
  if (tokenizer == nullptr) return rules;
  for (int32_t id = 0; id < config.vocab_size; ++id) rules.has_token.push_back(tokenizer->HasToken(id) ? 1 : 0);
  return rules;
}

EngineOptions OptionsFor(const LoadOptions& options, const LoadPlan& plan) {
  const int rows = static_cast<int>(options.max_rows);
  return {.scheduler = {.cache = {.num_blocks = plan.cache.num_blocks},
                        .prefix_cache = options.prefix_cache,
                        .max_step_tokens = plan.step_tokens,
                        .max_step_rows = rows,
                        .max_step_logits = MostStepLogits(options, plan.drafts.max_drafts, plan.step_tokens),
                        .max_started = static_cast<int>(options.max_started > 0 ? options.max_started : 4 * rows),
                        .max_drafts = plan.drafts.max_drafts,
                        .max_context_tokens = plan.context,
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
void Report(const LoadOptions& options, const LoadPlan& plan, LoadedModel& loaded) {
  const int64_t slots = plan.slots();
  const double rate = loaded.engine.step.tokens_per_second;
  loaded.sizes.push_back(
      absl::StrFormat("device: %s (%s)", loaded.chosen.device, loaded.chosen.backend.device->Describe()));
  loaded.sizes.push_back(absl::StrFormat("cache: %s blocks of %d tokens hold %s tokens as %s in %.1f MiB (%s)",
                                         Grouped(plan.cache.num_blocks - 1), kBlockSlots, Grouped(slots),
                                         std::string(NameOf(loaded.numerics.latents)),
                                         static_cast<double>(loaded.model->cache_bytes()) / 0x1p20, plan.cache.reason));
  if (plan.context > slots) {
    loaded.warnings.push_back(
        absl::StrFormat("max-context-tokens=%d is more than the %d tokens of the cache: longer requests get "
                        "KV_CAPACITY_EXCEEDED; raise "
                        "kv-blocks or lower it",
                        plan.context, slots));
  }
  loaded.sizes.push_back(absl::StrFormat(
      "step: at most %s tokens (%s tokens/s measured x max-step-seconds=%g, max-step-tokens=%d); queue: "
      "at most %d requests, %s tokens",
      Grouped(std::min<int64_t>(plan.step_tokens, static_cast<int64_t>(rate * options.max_step_seconds))),
      Grouped(static_cast<int64_t>(rate)), options.max_step_seconds, plan.step_tokens, options.max_queued_requests,
      Grouped(loaded.max_queued_tokens)));
  loaded.sizes.push_back(absl::StrCat("speculation: ", plan.drafts.reason));
  if (!plan.drafts.warning.empty()) loaded.warnings.push_back(plan.drafts.warning);
  loaded.derived = {{"device", loaded.chosen.device},
                    {"max-started", std::to_string(loaded.engine.scheduler.max_started)},
                    {"activations", std::string(NameOf(loaded.numerics.activations))},
                    {"max-context-tokens", std::to_string(plan.context)},
                    {"kv-blocks", std::to_string(plan.cache.num_blocks)},
                    {"kv-bytes", std::to_string(loaded.model->cache_bytes())},
                    {"kv-dtype", std::string(NameOf(loaded.numerics.latents))},
                    {"max-step-tokens", std::to_string(plan.step_tokens)},
                    {"max-queued-tokens", std::to_string(loaded.max_queued_tokens)}};
  if (plan.drafts.max_drafts == 0) loaded.derived.emplace_back("speculate", "off");
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
absl::StatusOr<LoadPlan> TakeWeights(const LoadOptions& options, const Checkpoint& checkpoint,
                                     const ModelConfig& config, LoadedModel& loaded) {
  absl::StatusOr<LoadPlan> plan = PlanLoad(options, config, checkpoint, loaded.chosen);
  if (!plan.ok()) return plan;
  loaded.numerics = plan->numerics;
  loaded.engine = OptionsFor(options, *plan);
  loaded.engine.vocabulary = RulesOf(config, loaded.text.tokenizer.get());
  const Backend& backend = loaded.chosen.backend;
  ModelLimits limits =
      LimitsFor(options, loaded.chosen, loaded.numerics,
                {.tokens = plan->step_tokens, .max_drafts = plan->drafts.max_drafts, .context = plan->context});
  limits.num_blocks = plan->cache.num_blocks;
  absl::StatusOr<std::unique_ptr<Model>> model = Model::Load(checkpoint, config, limits, *backend.device, *backend.ops);
  if (!model.ok()) return model.status();
  loaded.model = *std::move(model);
  // What nothing computes.
  if (absl::Status status = checkpoint.CheckUnread(static_cast<int>(options.threads)); !status.ok()) return status;
  return plan;
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
  config->num_mtp_layers = checkpoint->num_mtp_layers();
  Append(config->warnings, loaded->warnings);
  Append(loaded->text.warnings, loaded->warnings);
  Append(checkpoint->warnings(), loaded->warnings);

  const absl::StatusOr<LoadPlan> plan = TakeWeights(options, *checkpoint, *config, *loaded);
  if (!plan.ok()) return plan.status();
  const TimePoint read = clock.Now();
  loaded->sizes.push_back(SummaryText({.read = checkpoint->tensor_bytes(),
                                       .total = checkpoint->tensor_bytes(),
                                       .seconds = Seconds(read - reading_started)}));
  loaded->weights_seconds = Seconds(read - weights_started);
  Calibrate(options, *loaded);
  Report(options, *plan, *loaded);
  Describe(options, *checkpoint, *loaded);
  return loaded;
}

}  // namespace latentd
