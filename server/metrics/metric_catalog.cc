#include "server/metrics/metric_catalog.h"

#include <algorithm>

#include "base/check.h"
#include "server/api/outcomes.h"

namespace latentd {
namespace {

constexpr auto kCounter = MetricKind::kCounter;
constexpr auto kGauge = MetricKind::kGauge;
constexpr auto kHistogram = MetricKind::kHistogram;

using Descriptors = std::vector<MetricDescriptor>;

void AppendFlow(Descriptors& all) {
  all.push_back({"latentd_requests_received_total", kCounter, "RPCs", {{"method", AllMethods()}}, "RPCs that arrived"});
  all.push_back({"latentd_requests_finished_total",
                 kCounter,
                 "RPCs",
                 {{"method", AllMethods()}, {"grpc_code", AllCodes()}, {"reason", AllReasons()}},
                 "RPCs that ended, each once; there is a series for each combination that can occur"});
  all.push_back({"latentd_requests_in_flight",
                 kGauge,
                 "RPCs",
                 {{"phase", {"queued", "prefill", "decode", "output"}}},
                 "RPCs received and not finished; those that do not run the model are in phase output throughout"});
  all.push_back({"latentd_queue_wait_reason_total",
                 kCounter,
                 "sequences x steps",
                 {{"reason", {"rows", "tokens", "blocks", "logits"}}},
                 "Waiting sequences left out of a step, by what the first of them lacked"});
  all.push_back({"latentd_admission_rejected_total",
                 kCounter,
                 "RPCs",
                 {{"reason", AdmissionReasons()}},
                 "RPCs refused before they ran, for the state or the limits of the server"});
  all.push_back({"latentd_deadline_exceeded_total",
                 kCounter,
                 "RPCs",
                 {{"phase", {"queued", "prefill", "decode"}}},
                 "RPCs whose deadline or queue_timeout passed, by the phase they were in"});
}

void AppendLatencies(Descriptors& all) {
  const auto add = [&all](const char* name, const std::vector<std::string>& outcomes, const char* help) {
    all.push_back({name, kHistogram, "seconds", {{"outcome", outcomes}}, help});
  };
  add("latentd_request_duration_seconds", AllReasons(), "From arrival to the status");
  add("latentd_queue_seconds", RunReasons(), "From arrival to the first step, or to the end if there was none");
  add("latentd_prefill_seconds", RunReasons(),
      "From the first step to the first token, or to the end if there was none");
  add("latentd_time_to_first_token_seconds", RunReasons(), "From arrival to the first token");
  add("latentd_decode_seconds", RunReasons(), "From the first token to the end");
  add("latentd_inter_token_latency_seconds", RunReasons(),
      "Between two tokens of one request, as the engine made them");
  add("latentd_time_per_output_token_seconds", RunReasons(),
      "Mean time between the tokens of a request, one value each");
  add("latentd_cancel_to_release_seconds", RunReasons(),
      "From a cancel command (of client, RPC deadline or operator) to the release of the request's blocks");
}

void AppendTokens(Descriptors& all) {
  all.push_back({"latentd_prompt_tokens_total",
                 kCounter,
                 "tokens",
                 {{"source", {"computed", "prefix_cache"}}},
                 "Prompt tokens put in place, by where they came from"});
  all.push_back({"latentd_prompt_tokens_admitted_total", kCounter, "tokens", {}, "Prompt tokens of admitted requests"});
  all.push_back({"latentd_prompt_tokens_abandoned_total",
                 kCounter,
                 "tokens",
                 {},
                 "Prompt tokens of admitted requests that ended before these were computed"});
  all.push_back(
      {"latentd_prompt_tokens_pending", kGauge, "tokens", {}, "Prompt tokens of live requests, to be computed"});
  all.push_back({"latentd_generated_tokens_total",
                 kCounter,
                 "tokens",
                 {{"outcome", {"delivered", "discarded"}}},
                 "Generated tokens: given to the answer's stream, or past a stop string"});
  all.push_back({"latentd_wasted_tokens_total",
                 kCounter,
                 "tokens",
                 {{"cause", WasteCauses()}},
                 "Positions that went through the model in vain: all of a request that failed or was cut off, and what "
                 "was generated past the stop string of one that ended with STOP_STRING"});
  all.push_back({"latentd_prompt_length_tokens", kHistogram, "tokens", {}, "Prompt tokens of requests that ended"});
  all.push_back({"latentd_generation_length_tokens",
                 kHistogram,
                 "tokens",
                 {},
                 "Tokens delivered by requests that ended; Score does not count"});
}

void AppendCache(Descriptors& all) {
  all.push_back({"latentd_kv_blocks",
                 kGauge,
                 "blocks",
                 {{"state", {"free", "promised", "active", "cached", "reserved"}}},
                 "Blocks of the latent cache; promised ones are empty and kept for running requests, reserved is the "
                 "scratch block of padding rows"});
  all.push_back({"latentd_kv_blocks_capacity", kGauge, "blocks", {}, "Blocks of the latent cache in all states"});
  all.push_back({"latentd_kv_bytes", kGauge, "bytes", {}, "Memory of the latent cache"});
}

void AppendSteps(Descriptors& all) {
  all.push_back({"latentd_step_seconds",
                 kHistogram,
                 "seconds",
                 {{"kind", {"prefill", "decode", "mixed"}}},
                 "Duration of a step, by what its rows were computing"});
  all.push_back({"latentd_step_tokens", kHistogram, "tokens", {}, "Tokens computed in a step"});
  all.push_back({"latentd_step_rows", kHistogram, "sequences", {}, "Sequences in a step"});
  all.push_back({"latentd_scheduler_seconds", kHistogram, "seconds", {}, "Part of a step outside of the model"});
  all.push_back({"latentd_step_gap_seconds",
                 kHistogram,
                 "seconds",
                 {},
                 "Between the end of a step that left work behind and the start of the next"});
  all.push_back({"latentd_nonfinite_rows_total", kCounter, "rows", {}, "Rows whose logits were not finite"});
  all.push_back(
      {"latentd_last_step_timestamp_seconds", kGauge, "seconds", {}, "Unix time at the end of the last step; 0: none"});
  all.push_back({"latentd_engine_stalls_total",
                 kCounter,
                 "stalls",
                 {},
                 "Times that the engine had work and finished no step for stall_seconds"});
}

void AppendStreams(Descriptors& all) {
  all.push_back(
      {"latentd_stream_backlog_bytes", kGauge, "bytes", {}, "Output that waits to be written, of all streams"});
  all.push_back({"latentd_buffered_bytes",
                 kGauge,
                 "bytes",
                 {{"kind", {"requests", "answers"}}},
                 "Messages that are being received, with the room that they may need, or wait to be worked on; answers "
                 "in one message that their clients have not read yet"});
  all.push_back({"latentd_buffered_bytes_capacity",
                 kGauge,
                 "bytes",
                 {{"kind", {"requests", "answers"}}},
                 "What latentd_buffered_bytes may come to"});
  all.push_back({"latentd_buffer_refusals_total",
                 kCounter,
                 "RPCs",
                 {{"kind", {"requests", "answers"}}},
                 "RPCs refused for want of room, or ended to make room: INTAKE_FULL and SLOW_SENDER, ANSWERS_FULL"});
  all.push_back({"latentd_slow_consumer_total",
                 kCounter,
                 "sequences",
                 {{"action", {"paused", "resumed", "ended"}}},
                 "Requests paused because their reader was slow, resumed when it caught up, ended with SLOW_CONSUMER"});
}

void AppendConnections(Descriptors& all) {
  all.push_back({"latentd_connections",
                 kGauge,
                 "connections",
                 {{"listener", {"api", "admin"}}},
                 "Open connections; an end is seen up to half a second late"});
  all.push_back({"latentd_connections_refused_total",
                 kCounter,
                 "connections",
                 {{"reason", {"process_limit", "peer_limit", "descriptors"}}},
                 "Connections closed at once: beyond max-connections, beyond max-connections-per-peer, or for lack of "
                 "descriptors or memory"});
  all.push_back(
      {"latentd_connections_cut_off_total",
       kCounter,
       "connections",
       {{"reason", {"header_block", "header_bytes", "control_frames", "pings", "streams", "unasked_bytes", "uploads"}}},
       "Connections closed because their client took without asking; docs/hostile-clients.md has the bounds"});
  all.push_back(
      {"latentd_accepting",
       kGauge,
       "",
       {},
       "0 while connections can't be accepted for lack of descriptors or memory, else 1; readiness follows it"});
}

void AppendLifecycle(Descriptors& all) {
  all.push_back({"latentd_build_info",
                 kGauge,
                 "",
                 {{"version", {}}, {"compiler", {}}, {"architecture", {}}},
                 "What runs; always 1"});
  all.push_back({"latentd_model_info",
                 kGauge,
                 "",
                 {{"name", {}}, {"architecture", {}}, {"quantization", {}}, {"revision", {}}},
                 "The model that is served; always 1, without labels while it is loading"});
  all.push_back({"latentd_config_info",
                 kGauge,
                 "",
                 {{"…", {}}},
                 "The configuration, a label for each knob; always 1, without labels while the model is loading"});
  all.push_back({"latentd_model_load_bytes",
                 kGauge,
                 "bytes",
                 {{"state", {"loaded", "pending"}}},
                 "Tensors of the checkpoint: read, checked and in place, or still to come"});
  all.push_back({"latentd_startup_seconds",
                 kGauge,
                 "seconds",
                 {{"stage", {"config", "tokenizer", "weights", "total"}}},
                 "How long each stage of the start took"});
  all.push_back({"latentd_state",
                 kGauge,
                 "",
                 {{"state", {"loading", "serving", "stalled", "draining"}}},
                 "1 for the state the process is in, 0 for all others"});
}

void AppendProcess(Descriptors& all) {
  all.push_back({"process_cpu_seconds_total", kCounter, "seconds", {}, "User and system time of the process"});
  all.push_back({"process_resident_memory_bytes", kGauge, "bytes", {}, "Resident memory"});
  all.push_back({"process_virtual_memory_bytes", kGauge, "bytes", {}, "Virtual memory"});
  all.push_back({"process_open_fds", kGauge, "files", {}, "Open file descriptors"});
  all.push_back({"process_max_fds", kGauge, "files", {}, "Limit of open file descriptors"});
  all.push_back({"process_threads", kGauge, "threads", {}, "Threads of the process"});
  all.push_back({"process_start_time_seconds", kGauge, "seconds", {}, "Unix time at which the process started"});
}

Descriptors MakeCatalog() {
  Descriptors all;
  AppendFlow(all);
  AppendLatencies(all);
  AppendTokens(all);
  AppendCache(all);
  AppendSteps(all);
  AppendStreams(all);
  AppendConnections(all);
  AppendLifecycle(all);
  AppendProcess(all);
  return all;
}

}  // namespace

const Descriptors& MetricCatalog() {
  static const Descriptors catalog = MakeCatalog();
  return catalog;
}

const MetricDescriptor& DescriptorOf(std::string_view name) {
  const auto has_name = [name](const MetricDescriptor& descriptor) { return descriptor.name == name; };
  const auto found = std::find_if(MetricCatalog().begin(), MetricCatalog().end(), has_name);
  CHECK(found != MetricCatalog().end());
  return *found;
}

const std::vector<UnavailableMetric>& NotYetExported() {
  static const std::vector<UnavailableMetric> metrics = {
      {"latentd_prompt_tokens_total{source=\"recomputed\"}", "no sequence is preempted, so none is computed twice"},
      {"latentd_preempted_seconds", "no sequence is preempted"},
      {"latentd_preemptions_total", "no sequence is preempted: blocks for the worst case are promised at admission"},
      {"latentd_prefix_cache_queried_tokens_total", "there is no prefix cache"},
      {"latentd_prefix_cache_hit_tokens_total", "there is no prefix cache"},
      {"latentd_kv_evictions_total", "there is no prefix cache to evict from"},
      {"latentd_kv_invariant_violations_total",
       "no checker samples the cache in production; a broken invariant aborts the process, so a 0 here would say "
       "nothing"},
      {"latentd_expert_imbalance_ratio", "routed counts stay inside the kernels; nothing brings them to the engine"},
      {"latentd_expert_tokens_total", "as above"},
      {"latentd_requests_finished_total{reason=\"ENGINE_FAULT\"}",
       "nothing can bring it about: a broken invariant aborts the process"},
      {"latentd_spec_drafted_tokens_total", "there is no speculation"},
      {"latentd_spec_accepted_tokens_total", "there is no speculation"},
  };
  return metrics;
}

const std::vector<UnavailableMetric>& AlwaysZero() {
  static const std::vector<UnavailableMetric> metrics = {
      {"latentd_kv_blocks{state=\"cached\"}", "a law names it; there is no prefix cache"},
      {"latentd_prompt_tokens_total{source=\"prefix_cache\"}", "a law names it; there is no prefix cache"},
  };
  return metrics;
}

}  // namespace latentd
