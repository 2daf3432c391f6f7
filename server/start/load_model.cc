#include "server/start/load_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "base/clock.h"
#include "base/processors.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/step/calibration.h"
#include "engine/step/model_executor.h"
#include "server/api/answer_limit.h"
#include "server/api/sampling_defaults.h"
#include "server/grpc/grpc_server.h"
#include "server/start/choose_numerics.h"
#include "server/start/load_text.h"
#include "server/start/sizing.h"

namespace latentd {
namespace {

absl::StatusOr<int> MaxContext(const Config& config, const ModelConfig& facts) {
  if (config.max_context_tokens == 0) return facts.max_context;
  if (config.max_context_tokens <= facts.max_context) return static_cast<int>(config.max_context_tokens);
  return absl::InvalidArgumentError(absl::StrFormat("max-context-tokens=%d is more than the model's %d; lower it",
                                                    config.max_context_tokens, facts.max_context));
}

void DescribeShape(const ModelConfig& facts, v1::ModelShape* shape) {
  shape->set_num_layers(static_cast<uint32_t>(facts.num_layers));
  shape->set_hidden_size(static_cast<uint32_t>(facts.hidden_size));
  shape->set_num_attention_heads(static_cast<uint32_t>(facts.attention.num_heads));
  shape->set_latent_width(static_cast<uint32_t>(facts.attention.latent_width));
  shape->set_rope_width(static_cast<uint32_t>(facts.attention.rope_width));
  shape->set_num_routed_experts(static_cast<uint32_t>(facts.routing.num_experts));
  shape->set_experts_per_token(facts.routing.num_experts > 0 ? static_cast<uint32_t>(facts.routing.experts_per_token)
                                                             : 0);
  shape->set_num_mtp_layers(static_cast<uint32_t>(facts.num_mtp_layers));
}

void DescribeLimits(const Config& config, const LoadedModel& loaded, v1::ModelLimits* limits) {
  const SchedulerOptions& scheduler = loaded.engine.scheduler;
  limits->set_max_context_tokens(static_cast<uint32_t>(scheduler.max_context_tokens));
  limits->set_max_queued_requests(static_cast<uint32_t>(config.max_queued_requests));
  limits->set_max_queued_tokens(static_cast<uint64_t>(loaded.max_queued_tokens));
  limits->set_max_rows(static_cast<uint32_t>(scheduler.max_step_rows));
  limits->set_max_step_tokens(static_cast<uint32_t>(scheduler.max_step_tokens));
  limits->set_max_message_bytes(kMaxMessageBytes);
  limits->set_max_answer_bytes(kDefaultAnswerBytes);
  limits->set_kv_blocks(static_cast<uint64_t>(scheduler.pool.num_blocks));
  limits->set_kv_tokens(static_cast<uint64_t>(scheduler.pool.num_blocks - 1) * kBlockTokens);
}

void Describe(const Config& config, const Checkpoint& checkpoint, const ModelConfig& facts, LoadedModel& loaded) {
  v1::Model& model = loaded.served.description;
  model.set_name(ModelName(config.model_directory));
  model.set_architecture(facts.architecture);
  model.set_context_length(static_cast<uint32_t>(facts.max_context));
  model.set_vocab_size(static_cast<uint32_t>(facts.vocab_size));
  model.set_quantization(QuantizationOf(checkpoint, facts));
  model.set_revision(absl::StrFormat("%016x%016x", facts.digest, checkpoint.Digest()));
  model.set_fingerprint(FingerprintOf(model, facts, loaded.chosen, loaded.fp8_activations));
  DescribeShape(facts, model.mutable_shape());
  DescribeLimits(config, loaded, model.mutable_limits());
  model.set_has_tokenizer(loaded.served.tokenizer != nullptr);
  model.set_has_chat_template(loaded.served.chat.chat_template != nullptr ||
                              loaded.served.tool_use.chat_template != nullptr);
  if (facts.bos_id) model.set_bos_token_id(static_cast<uint32_t>(*facts.bos_id));
  for (const int32_t id : facts.eos_ids) model.add_eos_token_ids(static_cast<uint32_t>(id));
  *model.mutable_sampling_defaults() = SamplingDefaultsOf(facts.generation);
  // Without a tokenizer they can't be found.
  if (!model.has_tokenizer()) model.mutable_sampling_defaults()->clear_stop();
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
absl::Status AddEosIds(const Config& config, const Tokenizer* tokenizer, ModelConfig& facts) {
  absl::StatusOr<std::vector<int32_t>> ids = ParseIds(config.eos_token_ids, facts.vocab_size);
  if (!ids.ok()) return ids.status();
  if (tokenizer != nullptr && tokenizer->eos_id().value_or(facts.vocab_size) < facts.vocab_size) {
    ids->insert(ids->begin(), *tokenizer->eos_id());
  }
  for (const int32_t id : *ids) {
    if (std::find(facts.eos_ids.begin(), facts.eos_ids.end(), id) == facts.eos_ids.end()) facts.eos_ids.push_back(id);
  }
  if (facts.eos_ids.empty()) {
    facts.warnings.emplace_back(
        "no file of the model names an end-of-sequence token: answers end at max_tokens or the request's own stops; "
        "--eos-token-ids names it");
  }
  return absl::OkStatus();
}

VocabularyRules RulesOf(const ModelConfig& facts, const Tokenizer* tokenizer) {
  VocabularyRules rules{.eos_ids = facts.eos_ids, .has_token = {}};
  if (tokenizer == nullptr) return rules;
  for (int32_t id = 0; id < facts.vocab_size; ++id) rules.has_token.push_back(tokenizer->HasToken(id) ? 1 : 0);
  return rules;
}

MemoryFacts MemoryOf(const LoadedModel& loaded, const Checkpoint& checkpoint, const ModelConfig& facts) {
  return {.available_bytes = loaded.chosen.backend.device->AvailableBytes(),
          .weight_bytes = checkpoint.tensor_bytes(),
          .block_bytes = LatentCache::BytesPerBlock(facts, loaded.chosen.latents),
          .step_bytes = ActivationMemory::BytesPerToken(facts, loaded.fp8_activations)};
}

struct Sizes {
  int context = 0;
  int step_tokens = 0;
  CacheSize cache;
};

absl::StatusOr<Sizes> SizesOf(const Config& config, const ModelConfig& facts, const MemoryFacts& memory) {
  absl::StatusOr<int> context = MaxContext(config, facts);
  if (!context.ok()) return context.status();
  Sizes sizes{.context = *context, .step_tokens = StepTokens(config, memory), .cache = {}};
  absl::StatusOr<CacheSize> cache = CacheBlocks(config, memory, *context, sizes.step_tokens);
  if (!cache.ok()) return cache.status();
  sizes.cache = *std::move(cache);
  // Only an operator who asks for more than the cache holds gets requests that can never fit.
  if (config.max_context_tokens == 0) sizes.context = std::min(*context, (sizes.cache.num_blocks - 1) * kBlockTokens);
  return sizes;
}

EngineOptions OptionsFor(const Config& config, const Sizes& sizes) {
  const int rows = static_cast<int>(config.max_rows);
  return {.scheduler = {.pool = {.num_blocks = sizes.cache.num_blocks},
                        .max_step_tokens = sizes.step_tokens,
                        .max_step_rows = rows,
                        .max_step_logits = std::max(rows, 64),
                        .max_context_tokens = sizes.context,
                        .slow_consumer_seconds = config.slow_consumer_seconds},
          .step = {.max_step_seconds = config.max_step_seconds}};
}

// Measures the rate and decides what depends on it.
void Calibrate(const Config& config, LoadedModel& loaded) {
  const SchedulerOptions& scheduler = loaded.engine.scheduler;
  ModelExecutor executor(*loaded.model, loaded.chosen.backend);
  const MeasuredRate rate =
      MeasureRate(executor,
                  {.max_tokens = std::min(scheduler.max_step_tokens, scheduler.max_context_tokens),
                   .num_blocks = scheduler.pool.num_blocks,
                   .vocab_size = loaded.model->config().vocab_size,
                   .max_context = scheduler.max_context_tokens},
                  SteadyClock());
  loaded.engine.step.tokens_per_second = rate.tokens_per_second;
  loaded.engine.step.work_per_key = rate.work_per_key;
  loaded.max_queued_tokens = QueuedTokens(config, rate.tokens_per_second, scheduler.max_context_tokens);
}

void ReportThreads(const Config& config, LoadedModel& loaded) {
  if (loaded.chosen.is_cuda()) return;
  const cpu::ComputeThreads granted = cpu::FindComputeThreads();
  const int64_t threads = config.threads > 0 ? config.threads : granted.count;
  loaded.sizes.push_back(absl::StrFormat("threads: %d (%s%s)", threads,
                                         config.threads > 0 ? "as asked; the machine grants: " : "", granted.reason));
  loaded.derived.emplace_back("threads", std::to_string(threads));
}

// The derived sizes, for the log and for GetConfig.
void Report(const Config& config, const Sizes& sizes, LoadedModel& loaded) {
  const int64_t slots = int64_t{sizes.cache.num_blocks - 1} * kBlockTokens;
  const double rate = loaded.engine.step.tokens_per_second;
  loaded.sizes.push_back(
      absl::StrFormat("device: %s (%s)", loaded.chosen.device, loaded.chosen.backend.device->Describe()));
  loaded.sizes.push_back(absl::StrFormat(
      "cache: %s blocks of %d tokens hold %s tokens as %s in %.1f MiB (%s)", Grouped(sizes.cache.num_blocks - 1),
      kBlockTokens, Grouped(slots), std::string(NameOf(loaded.chosen.latents)),
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
      Grouped(std::min<int64_t>(sizes.step_tokens, static_cast<int64_t>(rate * config.max_step_seconds))),
      Grouped(static_cast<int64_t>(rate)), config.max_step_seconds, sizes.step_tokens, config.max_queued_requests,
      Grouped(loaded.max_queued_tokens)));
  loaded.derived = {{"device", loaded.chosen.device},
                    {"fp8-activations", loaded.fp8_activations == Fp8Activations::kDynamic ? "dynamic" : "off"},
                    {"max-context-tokens", std::to_string(sizes.context)},
                    {"kv-blocks", std::to_string(sizes.cache.num_blocks)},
                    {"kv-bytes", std::to_string(loaded.model->cache_bytes())},
                    {"kv-dtype", std::string(NameOf(loaded.chosen.latents))},
                    {"max-step-tokens", std::to_string(sizes.step_tokens)},
                    {"max-queued-tokens", std::to_string(loaded.max_queued_tokens)}};
  ReportThreads(config, loaded);
}

}  // namespace

namespace {

// The last name of the path as it was given, links and all; none where it ends in one that is no name.
std::optional<std::string> LastFolderGiven(const std::filesystem::path& directory) {
  std::filesystem::path given = directory;
  while (given.has_parent_path() && (!given.has_filename() || given.filename() == ".")) given = given.parent_path();
  const std::string name = given.filename().string();
  if (name.empty() || name == "." || name == "..") return std::nullopt;
  return name;
}

}  // namespace

// A cache of Hugging Face's: models--ORG--NAME/snapshots/REVISION.
std::string ModelName(const std::filesystem::path& directory) {
  std::error_code ignored;  // a directory that cannot be resolved keeps the name it was given
  auto resolved = std::filesystem::weakly_canonical(directory, ignored);
  if (!resolved.has_filename()) resolved = resolved.parent_path();  // a slash at the end
  constexpr std::string_view kPrefix = "models--", kSeparator = "--";
  const std::filesystem::path above = resolved.parent_path();
  std::string repository = above.parent_path().filename().string();
  if (above.filename() != "snapshots" || !repository.starts_with(kPrefix)) {
    return LastFolderGiven(directory).value_or(resolved.filename().string());
  }
  repository.erase(0, kPrefix.size());
  const size_t separator = repository.find(kSeparator);
  if (separator != std::string::npos) repository.replace(separator, kSeparator.size(), "/");
  return repository;
}

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadModel(const Config& config, LoadProgress& progress) {
  absl::StatusOr<ModelConfig> facts = LoadModelConfig(config.model_directory, GenerationSourceOf(config));
  if (!facts.ok()) return facts.status();
  if (absl::Status status = CheckComputable(*facts); !status.ok()) return status;
  if (absl::StatusOr<int> context = MaxContext(config, *facts); !context.ok()) return context.status();

  auto loaded = std::make_unique<LoadedModel>();
  const SteadyClock clock;
  const TimePoint text_started = clock.Now();
  absl::StatusOr<std::vector<std::string>> text_warnings = LoadText(config, loaded->served);
  if (!text_warnings.ok()) return text_warnings.status();
  if (absl::Status status = AddEosIds(config, loaded->served.tokenizer.get(), *facts); !status.ok()) return status;
  const TimePoint weights_started = clock.Now();
  loaded->tokenizer_seconds = Seconds(weights_started - text_started);
  absl::StatusOr<ChosenBackend> chosen = ChooseBackend(config);
  if (!chosen.ok()) return chosen.status();
  loaded->chosen = *std::move(chosen);
  const Backend& backend = loaded->chosen.backend;
  progress.Begin();
  absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(
      config.model_directory, *facts, [&progress](uint64_t read, uint64_t total) { progress.OnRead(read, total); });
  if (!checkpoint.ok()) return checkpoint.status();
  facts->num_mtp_layers = checkpoint->num_mtp_layers();
  for (const std::vector<std::string>& lines : {facts->warnings, *text_warnings, checkpoint->warnings()}) {
    loaded->warnings.insert(loaded->warnings.end(), lines.begin(), lines.end());
  }
  absl::StatusOr<Fp8Activations> fp8_activations = ChooseFp8Activations(config, *checkpoint, *facts, loaded->chosen);
  if (!fp8_activations.ok()) return fp8_activations.status();
  loaded->fp8_activations = *fp8_activations;

  absl::StatusOr<Sizes> sizes = SizesOf(config, *facts, MemoryOf(*loaded, *checkpoint, *facts));
  if (!sizes.ok()) return sizes.status();
  loaded->engine = OptionsFor(config, *sizes);
  loaded->engine.vocabulary = RulesOf(*facts, loaded->served.tokenizer.get());
  const int rows = backend.device->PadRows(loaded->engine.scheduler.max_step_rows);
  absl::StatusOr<std::unique_ptr<Model>> model =
      Model::Load(*checkpoint, *facts,
                  {.num_blocks = sizes->cache.num_blocks,
                   .max_tokens = std::max(sizes->step_tokens, rows),
                   .max_rows = rows,
                   .max_logit_rows = std::max(loaded->engine.scheduler.max_step_logits, rows),
                   .max_context = sizes->context,
                   .latents = loaded->chosen.latents,
                   .fp8_activations = loaded->fp8_activations},
                  *backend.device, *backend.ops);
  if (!model.ok()) return model.status();
  loaded->model = *std::move(model);
  // Layers that nothing computes yet.
  if (absl::Status status = checkpoint->CheckUnread(static_cast<int>(config.threads)); !status.ok()) return status;
  loaded->sizes.push_back(progress.Finish());
  loaded->weights_seconds = Seconds(clock.Now() - weights_started);
  Calibrate(config, *loaded);
  Report(config, *sizes, *loaded);
  Describe(config, *checkpoint, *facts, *loaded);
  loaded->sizes.push_back(absl::StrFormat("defaults: what requests leave out is %s (generation-config=%s)",
                                          DescribeDefaults(loaded->served.description.sampling_defaults()),
                                          config.generation_config));
  return loaded;
}

}  // namespace latentd
