// The operator's choices: parsed once, constant afterwards. 0 means "the daemon decides" wherever a comment says so.
// Names, ranges and help of the knobs are in server/config/knobs.cc.
#pragma once

#include <cstdint>
#include <string>

namespace latentd {

// Defaults that depend on each other.
inline constexpr int64_t kDefaultRows = 64, kDefaultQueuedRequests = 256, kDefaultPendingBytes = 256 << 10;
static_assert(kDefaultQueuedRequests >= kDefaultRows);  // a full step's rows can all be followed at once

struct Config {
  std::string model_directory;
  std::string chat_template;               // a file, or the name of one of the model's; empty: as transformers chooses
  std::string served_model_name;           // names, separated by commas; empty: its directory's
  std::string generation_config = "auto";  // the model's own; "none", or a file or directory
  std::string eos_token_ids;               // ids, separated by commas, that end answers beside the model's own
  std::string device = "auto";             // a CUDA device where there is one, else the CPU
  int64_t threads = 0;                     // 0: one per processor that affinity and CPU quota grant
  std::string pin_threads = "auto";        // on, off, or the processors that they stay on
  int64_t max_context_tokens = 0;          // 0: the smaller of the model's and what the cache can hold
  int64_t kv_blocks = 0;                   // 0: from kv_bytes
  int64_t kv_bytes = 0;                    // 0: what max_rows full contexts need, within the memory that is left
  std::string kv_dtype = "auto";           // what the device prefers beside the activations
  std::string activations = "auto";        // fp8 on a GPU where the weights are FP8, else fp32
  std::string prefix_cache = "on";
  std::string speculate = "auto";     // tokens drafted ahead: as many as pay; "off", or so many at most
  double cache_keep_seconds = 300.0;  // the longest that a request may have its prefix kept
  int64_t max_step_tokens = 0;        // 0: from memory
  double max_step_seconds = 0.1;
  int64_t max_rows = kDefaultRows;
  int64_t max_started = 0;  // sequences that have begun; 0: four times max_rows
  int64_t max_queued_requests = kDefaultQueuedRequests;
  int64_t max_queued_tokens = 0;  // of prompts; 0: as many as can be computed in a minute
  double slow_consumer_seconds = 30.0;
  int64_t max_pending_bytes = kDefaultPendingBytes;  // output of one reader that waits to be written
  int64_t max_buffered_bytes = 0;                    // of requests that come in, and as many of answers; 0: from memory
  int64_t egress_threads = 2;
  double stall_seconds = 30.0;  // without a step while there is work: not serving
  double drain_seconds = 30.0;
  std::string tenants;           // a file with those who share the engine; empty: all are alike
  double ageing_seconds = 10.0;  // of waiting raise a request's priority by one

  std::string listen = "127.0.0.1:50051";
  std::string metrics_listen = "127.0.0.1:9090";
  std::string metrics_compat = "none";   // further names under which the metrics are shown
  std::string admin_listen;              // empty: no Admin service
  std::string kv_events_listen;          // tcp://…; empty: no KV events over ZeroMQ
  std::string kv_events_replay_listen;   // tcp://…; empty: no replays of them
  std::string kv_events_topic;           // empty: kv@HOST@MODEL
  std::string smg = "on";                // whether the service of the gateway smg is served on the API's address
  std::string port_file;                 // empty: none is written
  std::string tokens;                   // a file of bearer tokens; empty: none are asked for
  std::string identities;               // a file that says what names of certificates may; empty: none
  std::string tls_cert;                 // of this server; empty: no TLS
  std::string tls_key;
  std::string tls_client_ca;             // vouches for clients; empty: they show no certificates
  std::string insecure = "off";          // on: listens beyond loopback without credentials
  int64_t max_connections = 0;           // of the API; 0: from the limit of open files
  int64_t max_connections_per_peer = 0;  // 0: three quarters of those

  std::string log_level = "info";
  std::string log_format = "text";
  std::string core_dumps = "off";
  std::string recorder_dir;   // where the flight recorder is saved; empty: nowhere
  std::string otlp_endpoint;  // of the collector that takes traces; empty: none are made
  std::string profile;        // file for a trace of the first steps; empty: none
};

// Where a knob's value came from. A later one wins.
enum class KnobSource : uint8_t { kDefault, kFile, kEnvironment, kFlag, kAdmin };

struct KnobValue {
  std::string name;  // as the flag is called, without dashes
  std::string value;
  KnobSource source = KnobSource::kDefault;
};

}  // namespace latentd
