#include "server/smg/worker_facts.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <absl/time/time.h>
#include <nlohmann/json.hpp>

#include "engine/schedule/block_id.h"

namespace latentd {
namespace {

namespace pb = vllm::grpc::engine;

// The protocol's counts are signed.
int32_t Clamped(uint64_t value) {
  return static_cast<int32_t>(std::min<uint64_t>(value, std::numeric_limits<int32_t>::max()));
}

const char* TextOf(const ServingState::View& view) {
  switch (view.stage) {
    case ServingState::Stage::kLoading:
      return "the model is loading";
    case ServingState::Stage::kStalled:
      return "the engine finishes no step";
    case ServingState::Stage::kDraining:
      return "the server is shutting down";
    case ServingState::Stage::kServing:
      break;
  }
  return view.is_ready() ? "serving" : "the server accepts no connections";
}

}  // namespace

pb::HealthCheckResponse HealthOf(const ServingState::View& view) {
  pb::HealthCheckResponse response;
  response.set_healthy(view.is_ready());
  response.set_message(TextOf(view));
  return response;
}

std::string DefaultSamplingJson(const v1::SamplingDefaults& defaults) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  const auto add = [&json](const char* name, auto value, auto neutral) {
    if (value != neutral) json[name] = value;
  };
  add("temperature", defaults.temperature(), 1.0f);
  add("top_p", defaults.top_p(), 1.0f);
  add("top_k", defaults.top_k(), 0u);
  add("min_p", defaults.min_p(), 0.0f);
  if (defaults.has_repetition_penalty()) add("repetition_penalty", defaults.repetition_penalty(), 1.0f);
  if (defaults.has_max_tokens()) json["max_tokens"] = defaults.max_tokens();
  return json.dump();
}

pb::GetModelInfoResponse ModelInfoOf(const v1::Model& model, const std::string& model_directory) {
  pb::GetModelInfoResponse info;
  info.set_model_path(model_directory);
  info.set_is_generation(true);
  info.set_max_context_length(model.limits().max_context_tokens());
  info.set_vocab_size(model.vocab_size());
  info.set_served_model_name(model.name());
  if (model.has_tokenizer()) info.set_tokenizer_path(model_directory);
  info.set_model_type(model.model_type());
  info.add_architectures(model.architecture());
  for (const uint32_t id : model.eos_token_ids()) info.add_eos_token_ids(Clamped(id));
  if (model.has_bos_token_id()) info.set_bos_token_id(Clamped(model.bos_token_id()));
  info.set_max_req_input_len(Clamped(model.limits().max_context_tokens()) - 1);
  info.set_default_sampling_params_json(DefaultSamplingJson(model.sampling_defaults()));
  return info;
}

pb::SchedulerLoad SchedulerLoadOf(const v1::Load& load, const v1::ModelLimits& limits) {
  pb::SchedulerLoad core;
  const uint64_t running = uint64_t{load.requests_prefill()} + load.requests_decode();
  const uint64_t blocks = limits.kv_tokens() / kBlockSlots;  // without the scratch block
  core.set_num_running_reqs(Clamped(running));
  core.set_num_waiting_reqs(Clamped(load.requests_queued()));
  core.set_num_total_reqs(Clamped(running + load.requests_queued()));
  core.set_num_used_tokens(Clamped(load.kv_blocks_active() * kBlockSlots));
  core.set_max_total_num_tokens(Clamped(limits.kv_tokens()));
  if (blocks > 0) core.set_token_usage(static_cast<double>(load.kv_blocks_active()) / static_cast<double>(blocks));
  core.set_gen_throughput(load.generated_tokens_per_second());
  core.set_cache_hit_rate(load.prefix_hit_rate());
  core.set_max_running_requests(Clamped(limits.max_rows()));
  if (limits.max_rows() > 0) {
    core.set_utilization(std::min(1.0, static_cast<double>(running) / limits.max_rows()));
  }
  // All of their tokens: which of them are cached is found out when they are scheduled.
  core.set_num_waiting_uncached_tokens(Clamped(load.tokens_queued()));
  return core;
}

std::string Iso8601(std::chrono::system_clock::time_point time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromChrono(time), absl::UTCTimeZone());
}

}  // namespace latentd
