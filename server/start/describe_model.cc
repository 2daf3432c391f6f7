#include "server/start/describe_model.h"

#include <string>
#include <utility>

#include "engine/load/model_name.h"
#include "server/api/answer_limit.h"
#include "server/api/sampling_defaults.h"
#include "server/config/served_names.h"
#include "server/net/message_limit.h"

namespace latentd {
namespace {

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
  limits->set_max_cache_keep_seconds(config.cache_keep_seconds);
  limits->set_kv_blocks(static_cast<uint64_t>(scheduler.cache.num_blocks));
  limits->set_kv_tokens(static_cast<uint64_t>(scheduler.cache.num_blocks - 1) * kBlockSlots);
  const auto max_drafts = static_cast<uint32_t>(scheduler.max_drafts);
  limits->set_max_drafts(max_drafts);
  if (max_drafts == 0 || config.speculate != "auto") limits->set_default_drafts(max_drafts);
}

v1::Model Describe(const Config& config, const LoadedModel& loaded) {
  const ModelConfig& facts = loaded.model->config();
  v1::Model model;
  const std::vector<std::string> names = NamesOf(config);
  model.set_name(names.front());
  for (size_t i = 1; i < names.size(); ++i) model.add_aliases(names[i]);
  model.set_architecture(facts.architecture);
  model.set_model_type(facts.model_type);
  model.set_context_length(static_cast<uint32_t>(facts.max_context));
  model.set_vocab_size(static_cast<uint32_t>(facts.vocab_size));
  model.set_quantization(loaded.description.quantization);
  model.set_revision(loaded.description.revision);
  model.set_fingerprint(loaded.description.fingerprint);
  DescribeShape(facts, model.mutable_shape());
  DescribeLimits(config, loaded, model.mutable_limits());
  model.set_has_tokenizer(loaded.text.tokenizer != nullptr);
  model.set_has_chat_template(loaded.text.chat.chat_template != nullptr ||
                              loaded.text.tool_use.chat_template != nullptr);
  if (facts.bos_id) model.set_bos_token_id(static_cast<uint32_t>(*facts.bos_id));
  for (const int32_t id : facts.eos_ids) model.add_eos_token_ids(static_cast<uint32_t>(id));
  *model.mutable_sampling_defaults() = SamplingDefaultsOf(facts.generation);
  // Without a tokenizer no stop string can be found.
  if (!model.has_tokenizer()) model.mutable_sampling_defaults()->clear_stop();
  return model;
}

}  // namespace

std::vector<std::string> NamesOf(const Config& config) {
  if (config.served_model_name.empty()) return {ModelName(config.model_directory)};
  return *ParseServedNames(config.served_model_name);  // it was checked when it was set
}

ServedModel TakeServedModel(const Config& config, LoadedModel& loaded) {
  return {.description = Describe(config, loaded),
          .tokenizer = std::move(loaded.text.tokenizer),
          .answer_format = loaded.text.answer_format,
          .chat = std::move(loaded.text.chat),
          .tool_use = std::move(loaded.text.tool_use)};
}

}  // namespace latentd
