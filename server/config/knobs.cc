#include "server/config/knobs.h"

#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "base/number_text.h"
#include "base/placement.h"
#include "base/utf8.h"
#include "kernels/backend.h"
#include "server/config/otlp_endpoint.h"
#include "server/config/served_names.h"
#include "server/net/address.h"

namespace latentd {
namespace {

constexpr double kDaySeconds = 86400.0;
constexpr std::string_view kSharing = "Sharing";
constexpr std::string_view kModel = "Model";
constexpr std::string_view kListening = "Listening";
constexpr std::string_view kAccess = "Access";
constexpr std::string_view kLogging = "Logging";

std::vector<Knob> EngineKnobs() {
  return {
      {kEngineKnobs, "model", &Config::model_directory,
       "Directory of the model: config.json, *.safetensors, tokenizer.json or tiktoken.model"},
      {kEngineKnobs, "device", &Config::device, "What computes: cpu, cuda:N, or auto, the first GPU or else the CPU"},
      {kEngineKnobs, "threads", &Config::threads, "Threads of the CPU that compute", 0, 1024,
       "one per processor that affinity and CPU quota grant"},
      {kEngineKnobs, "pin-threads", &Config::pin_threads,
       "Processors that those threads stay on: auto (with NUMA nodes), on, off, or a list as in 0-3,8"},
      {kEngineKnobs, "max-context-tokens", &Config::max_context_tokens, "Prompt and answer together", 0, 1 << 24,
       "the smaller of the model's and what the cache can hold"},
      {kEngineKnobs, "kv-blocks", &Config::kv_blocks, "Cache size in blocks of 64 tokens", 0, 1 << 24, "from kv-bytes"},
      {kEngineKnobs, "kv-bytes", &Config::kv_bytes, "Cache size in bytes", 0, 0x1p50,
       "what max-rows full contexts need, at most half of the memory that the weights leave"},
      {.group = kEngineKnobs,
       .name = "kv-dtype",
       .member = &Config::kv_dtype,
       .help = "What the cache stores; auto: bf16 on a GPU and beside activations=bf16, else fp32",
       .choices = {"auto", "fp32", "bf16", "fp8"}},
      {.group = kEngineKnobs,
       .name = "activations",
       .member = &Config::activations,
       .help = "What products read of their inputs; fp8: codes, for FP8 weights; auto: that on a GPU, fp32 on the CPU",
       .choices = {"auto", "fp32", "bf16", "fp8"}},
      {.group = kEngineKnobs,
       .name = "speculate",
       .member = &Config::speculate,
       .help = "Tokens that the model's own predicting layer drafts ahead of an answer: auto, as many as pay; off; or "
               "so many at most",
       .choices = {"auto", "off", "1", "2", "3", "4", "5", "6", "7", "8"}},
      {kEngineKnobs, "max-step-tokens", &Config::max_step_tokens, "Tokens that one step computes at most", 0, 1 << 16,
       "512, fewer where memory is short"},
      {kEngineKnobs, "max-step-seconds", &Config::max_step_seconds,
       "Time that one step should take: the measured rate bounds its tokens", 0.001, 3600},
      {kEngineKnobs, "max-rows", &Config::max_rows, "Requests that run in one step at most", 1, 4096},
      {kEngineKnobs, "max-queued-requests", &Config::max_queued_requests, "Requests that may wait; more are refused", 1,
       1 << 20},
      {kEngineKnobs, "max-queued-tokens", &Config::max_queued_tokens, "Prompt tokens that may wait", 0, 0x1p40,
       "what the measured rate computes in a minute"},
      {kEngineKnobs, "slow-consumer-seconds", &Config::slow_consumer_seconds,
       "A client that takes nothing for so long while its answer waits, or leaves a request half sent, is given up",
       0.01, kDaySeconds},
      {kEngineKnobs, "max-pending-bytes", &Config::max_pending_bytes,
       "Output of one reader that may wait before its sequence pauses", 1024, 1 << 30},
      {kEngineKnobs, "egress-threads", &Config::egress_threads, "Threads that write answers", 1, 64},
      {kEngineKnobs, "stall-seconds", &Config::stall_seconds,
       "Without a step for so long while requests run, health says NOT_SERVING", 0.01, kDaySeconds},
      {kEngineKnobs, "drain-seconds", &Config::drain_seconds,
       "Time that requests in flight get after SIGTERM, SIGINT or Drain", 0, kDaySeconds},
  };
}

std::vector<Knob> ListeningKnobs() {
  return {
      {kListening, "listen", &Config::listen,
       "HOST:PORT, [IPV6]:PORT or unix:/PATH of the gRPC API; port 0 takes a free one"},
      {kListening, "metrics-listen", &Config::metrics_listen,
       "HOST:PORT or [IPV6]:PORT of Prometheus metrics; port 0 takes a free one"},
      {.group = kListening,
       .name = "metrics-compat",
       .member = &Config::metrics_compat,
       .help = "vllm: also the series that dashboards and the pickers of Kubernetes know from vLLM",
       .choices = {"none", "vllm"}},
      {kListening, "admin-listen", &Config::admin_listen,
       "HOST:PORT, [IPV6]:PORT or unix:/PATH of the Admin service; empty: off"},
      {kListening, "kv-events-listen", &Config::kv_events_listen,
       "tcp://HOST:PORT where ZeroMQ subscribers learn what the prefix cache holds; empty: off"},
      {kListening, "kv-events-replay-listen", &Config::kv_events_replay_listen,
       "tcp://HOST:PORT where they ask again for what they missed; empty: off"},
      {kListening, "kv-events-topic", &Config::kv_events_topic,
       "Topic of these messages; empty: kv@HOSTNAME@MODEL, which names the pod and the model"},
      {.group = kListening,
       .name = "smg",
       .member = &Config::smg,
       .help = "on: the service by which the gateway smg drives its workers stands beside the gRPC API",
       .choices = {"on", "off"}},
      {kListening, "max-connections", &Config::max_connections, "Connections to the gRPC API; more are refused", 0,
       1 << 20, "2048, fewer where ulimit -n is low"},
      {kListening, "max-connections-per-peer", &Config::max_connections_per_peer,
       "Those of one IPv4 address or one /64 of IPv6", 0, 1 << 20, "three quarters of max-connections"},
      {kListening, "max-buffered-bytes", &Config::max_buffered_bytes,
       "Requests being received may take so much, answers in one message as much again", 0, 0x1p40,
       "an eighth of the memory, 16 MiB to 1 GiB"},
      {kListening, "port-file", &Config::port_file, "File to write the bound addresses to, as JSON, once serving"},
  };
}

std::vector<Knob> AroundTheEngine() {
  return {
      {.group = kSharing,
       .name = "prefix-cache",
       .member = &Config::prefix_cache,
       .help = "off: each request computes its whole prompt, and nothing is kept of it",
       .choices = {"on", "off"}},
      {kSharing, "cache-keep-seconds", &Config::cache_keep_seconds,
       "Longest time for which a request may have its prefix kept (cache.keep_for)", 0, kDaySeconds},
      {kSharing, "max-started", &Config::max_started,
       "Answers that have begun, also while their readers or the cache make them wait", 0, 1 << 20,
       "four times max-rows"},
      {kSharing, "tenants", &Config::tenants,
       "TOML file with those who share the engine: weights, quotas and highest priorities; empty: all are alike"},
      {kSharing, "ageing-seconds", &Config::ageing_seconds,
       "Waiting for so long raises a request's priority by one, up to the highest that waits", 0.01, kDaySeconds},
      {kModel, "chat-template", &Config::chat_template,
       "File with a chat template, or the name of one of the model's; empty: the model's, tool_use for tools"},
      {kModel, "served-model-name", &Config::served_model_name,
       "Names, separated by commas: the first is the model's in answers and metrics, the others are taken, too; empty: "
       "its directory's"},
      {kModel, "generation-config", &Config::generation_config,
       "Where defaults of requests come from: auto, the model's generation_config.json; none; or a file or directory"},
      {kModel, "eos-token-ids", &Config::eos_token_ids,
       "Ids, separated by commas, that end answers beside those of the model's files"},
  };
}

std::vector<Knob> LoggingKnobs() {
  return {
      {.group = kLogging,
       .name = "log-level",
       .member = &Config::log_level,
       .help = "How much is logged",
       .choices = {"trace", "debug", "info", "warning", "error", "off"}},
      {.group = kLogging,
       .name = "log-format",
       .member = &Config::log_format,
       .help = "json: one object per line",
       .choices = {"text", "json"}},
      {.group = kLogging,
       .name = "core-dumps",
       .member = &Config::core_dumps,
       .help = "on: a crash may leave one, with requests and answers in it, never weights or cache",
       .choices = {"off", "on"}},
      {kLogging, "recorder-dir", &Config::recorder_dir,
       "Directory where the flight recorder is saved on a stall or a failed check; empty: nowhere"},
      {kLogging, "otlp-endpoint", &Config::otlp_endpoint,
       "Collector that gets a span for each request, by OTLP over gRPC: http://HOST:PORT, https://HOST:PORT or "
       "unix:/PATH; empty: none are made"},
      {kLogging, "profile", &Config::profile,
       "File to write the first 32 steps to, by op, as a Chrome trace; on the CPU only; empty: none"},
  };
}

std::vector<Knob> AccessKnobs() {
  return {
      {kAccess, "tokens", &Config::tokens,
       "File of bearer tokens, a line each as latentctl token new makes it; read again when it changes; empty: none"},
      {kAccess, "identities", &Config::identities,
       "File of names of client certificates, SAN TENANT RIGHTS a line; read again when it changes; empty: none"},
      {kAccess, "tls-cert", &Config::tls_cert,
       "Certificate of this server and its chain, PEM, for TLS on all but unix sockets and the metrics; read again "
       "when "
       "it changes"},
      {kAccess, "tls-key", &Config::tls_key, "Its private key, PEM, without a password"},
      {kAccess, "tls-client-ca", &Config::tls_client_ca,
       "CA that vouches for clients, PEM: each must show a certificate (mTLS); empty: none is asked for"},
      {.group = kAccess,
       .name = "insecure",
       .member = &Config::insecure,
       .help = "on: listens beyond loopback though no credentials are asked for; Admin never does",
       .choices = {"off", "on"},
       .alone = "on"},
  };
}

// The whole of `text` as a number, in its shortest form back again.
template <class Number>
bool Parse(const std::string& text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

template <class Number>
absl::Status AssignNumber(const Knob& knob, const std::string& text, Number* member) {
  Number number = 0;
  if (Parse(text, &number) && static_cast<double>(number) >= knob.lowest &&
      static_cast<double>(number) <= knob.highest) {
    *member = number;
    return absl::OkStatus();
  }
  const char* kind = std::is_integral_v<Number> ? "a whole number" : "a number";
  return absl::InvalidArgumentError(absl::StrFormat("expected %s from %s to %s, found \"%s\"", kind,
                                                    NumberText(static_cast<Number>(knob.lowest)),
                                                    NumberText(static_cast<Number>(knob.highest)), text));
}

absl::Status AssignText(const Knob& knob, const std::string& text, std::string* member) {
  bool is_choice = knob.choices.empty();
  std::vector<std::string> names;
  for (const std::string_view choice : knob.choices) {
    is_choice = is_choice || choice == text;
    names.emplace_back(choice);
  }
  if (!is_choice) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected one of %s, found \"%s\"", absl::StrJoin(names, ", "), text));
  }
  // It is shown by metrics, GetModel and GetConfig, which know no other text.
  if (const std::optional<size_t> at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected UTF-8, found \"%s\" with a byte at %d that is not", absl::CHexEscape(text), *at));
  }
  *member = text;
  return absl::OkStatus();
}

// What a listener can ask its clients for.
enum class Guard : uint8_t { kTokensOrCertificates, kTokens, kNothing };

struct Listener {
  std::string_view knob;
  const std::string& text;
  absl::StatusOr<Address> (*parse)(std::string_view text);
  Guard guard;
  bool may_be_off = false;
};

std::array<Listener, 5> ListenersOf(const Config& config) {
  const auto grpc = [](std::string_view text) { return ParseAddress(text, AddressUse::kGrpcListener); };
  const auto http = [](std::string_view text) { return ParseAddress(text, AddressUse::kHttpListener); };
  return {Listener{"listen", config.listen, grpc, Guard::kTokensOrCertificates},
          Listener{"metrics-listen", config.metrics_listen, http, Guard::kTokens},
          Listener{"admin-listen", config.admin_listen, grpc, Guard::kTokensOrCertificates, true},
          Listener{"kv-events-listen", config.kv_events_listen, ParseTcpListener, Guard::kNothing, true},
          Listener{"kv-events-replay-listen", config.kv_events_replay_listen, ParseTcpListener, Guard::kNothing, true}};
}

bool IsGuarded(const Listener& listener, const Config& config) {
  if (listener.guard == Guard::kNothing) return false;
  return !config.tokens.empty() || (listener.guard == Guard::kTokensOrCertificates && !config.tls_client_ca.empty());
}

// What other machines reach asks for credentials, or the operator says that it need not. Admin always asks.
absl::Status CheckExposure(const Config& config) {
  for (const Listener& listener : ListenersOf(config)) {
    const bool is_admin = listener.knob == "admin-listen";
    if (listener.text.empty() || IsGuarded(listener, config) || (!is_admin && config.insecure == "on")) continue;
    const absl::StatusOr<Address> address = listener.parse(listener.text);
    if (!address.ok() || address->is_loopback()) continue;
    const char* cures[] = {"give --tokens or --tls-client-ca, ", "give --tokens, ", ""};
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected credentials to be asked for where other machines can connect, found %s and none; %s%s",
        listener.knob, address->ToString(), cures[static_cast<size_t>(listener.guard)],
        is_admin ? "or bind it to loopback or a unix socket" : "bind it to loopback, or say --insecure"));
  }
  return absl::OkStatus();
}

// What takes another knob.
absl::Status CheckAccess(const Config& config) {
  struct Need {
    std::string_view knob, needed;
    const std::string &value, &other;
  };
  for (const Need& need : {Need{"tls-cert", "tls-key", config.tls_cert, config.tls_key},
                           Need{"tls-key", "tls-cert", config.tls_key, config.tls_cert},
                           Need{"tls-client-ca", "tls-cert", config.tls_client_ca, config.tls_cert},
                           Need{"identities", "tls-client-ca", config.identities, config.tls_client_ca}}) {
    if (need.value.empty() || !need.other.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected %s beside it, found none; give both", need.knob, need.needed));
  }
  return absl::OkStatus();
}

// Each listener has an address of its own.
absl::Status CheckListeners(const Config& config) {
  std::map<std::string, std::string_view> taken;
  for (const Listener& listener : ListenersOf(config)) {
    if (listener.may_be_off && listener.text.empty()) continue;
    const absl::StatusOr<Address> address = listener.parse(listener.text);
    if (!address.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: %s", listener.knob, address.status().message()));
    }
    const auto [place, is_new] = taken.emplace(address->ToString(), listener.knob);
    if (is_new || (address->kind != Address::Kind::kUnix && address->port == 0)) continue;
    return absl::InvalidArgumentError(absl::StrFormat("%s and %s are both %s; give each an address of its own",
                                                      place->second, listener.knob, place->first));
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const Knob> AllKnobs() {
  static const std::vector<Knob> knobs = [] {
    std::vector<Knob> all = EngineKnobs();
    for (const auto& knobs_of : {&AroundTheEngine, &ListeningKnobs, &AccessKnobs, &LoggingKnobs}) {
      for (Knob& knob : knobs_of()) all.push_back(std::move(knob));
    }
    return all;
  }();
  return knobs;
}

std::string EnvironmentName(std::string_view knob) {
  std::string name = "LATENTD_";
  for (const char c : knob) name += c == '-' ? '_' : absl::ascii_toupper(static_cast<unsigned char>(c));
  return name;
}

absl::Status Assign(const Knob& knob, const std::string& text, Config& config) {
  if (const auto* member = std::get_if<int64_t Config::*>(&knob.member)) {
    return AssignNumber(knob, text, &(config.**member));
  }
  if (const auto* member = std::get_if<double Config::*>(&knob.member)) {
    return AssignNumber(knob, text, &(config.**member));
  }
  return AssignText(knob, text, &(config.*std::get<std::string Config::*>(knob.member)));
}

std::string ValueOf(const Knob& knob, const Config& config) {
  if (const auto* member = std::get_if<int64_t Config::*>(&knob.member)) return NumberText(config.**member);
  if (const auto* member = std::get_if<double Config::*>(&knob.member)) return NumberText(config.**member);
  return config.*std::get<std::string Config::*>(knob.member);
}

std::vector<KnobValue> WithDerived(std::vector<KnobValue> knobs, const DerivedKnobs& derived) {
  for (const auto& [name, value] : derived) {
    for (KnobValue& knob : knobs) {
      if (knob.name == name) knob.value = value;
    }
  }
  return knobs;
}

absl::Status CheckTogether(const Config& config) {
  if (absl::Status status = CheckDeviceName(config.device); !status.ok()) return status;
  if (absl::Status status = cpu::CheckPinning(config.pin_threads); !status.ok()) return status;
  if (config.kv_blocks > 0 && config.kv_bytes > 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("kv-blocks=%d and kv-bytes=%d both say how large the cache is; leave one of them at 0",
                        config.kv_blocks, config.kv_bytes));
  }
  if (config.kv_events_listen.empty() && !config.kv_events_replay_listen.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("kv-events-replay-listen=%s repeats what kv-events-listen publishes, which is off; set that, "
                        "too, or leave both empty",
                        config.kv_events_replay_listen));
  }
  if (const absl::Status names = ParseServedNames(config.served_model_name).status(); !names.ok()) return names;
  if (!config.otlp_endpoint.empty()) {
    if (absl::Status status = ParseOtlpEndpoint(config.otlp_endpoint).status(); !status.ok()) return status;
  }
  if (absl::Status status = CheckListeners(config); !status.ok()) return status;
  if (absl::Status status = CheckAccess(config); !status.ok()) return status;
  return CheckExposure(config);
}

}  // namespace latentd
