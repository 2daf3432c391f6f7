// The operator's choices: parsed once, constant afterwards. 0 means "the daemon decides" wherever a comment says so.
// Names, ranges and help of the knobs are in server/config/knobs.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

// Defaults that depend on each other.
inline constexpr int64_t kDefaultRows = 64, kDefaultQueuedRequests = 256;
static_assert(kDefaultQueuedRequests >= kDefaultRows);  // a full step's rows can all be followed at once

struct Config {
  std::string model_directory;
  std::string chat_template;               // a file, or the name of one of the model's; empty: as transformers chooses
  std::string generation_config = "auto";  // the model's own; "none", or a file or directory
  std::string eos_token_ids;               // ids, separated by commas, that end answers beside the model's own
  std::string device = "auto";             // a CUDA device where there is one, else the CPU
  int64_t threads = 0;                     // 0: one per processor that affinity and CPU quota grant
  int64_t max_context_tokens = 0;          // 0: the smaller of the model's and what the cache can hold
  int64_t kv_blocks = 0;                   // 0: from kv_bytes
  int64_t kv_bytes = 0;                    // 0: what max_rows full contexts need, within the memory that is left
  std::string kv_dtype = "auto";           // the device's preference
  std::string fp8_activations = "auto";    // dynamic on a GPU where the weights are FP8, else off
  int64_t max_step_tokens = 0;             // 0: from memory
  double max_step_seconds = 0.1;
  int64_t max_rows = kDefaultRows;
  int64_t max_queued_requests = kDefaultQueuedRequests;
  int64_t max_queued_tokens = 0;  // of prompts; 0: as many as can be computed in a minute
  double slow_consumer_seconds = 30.0;
  int64_t max_pending_bytes = 256 << 10;  // output of one reader that waits to be written
  int64_t max_buffered_bytes = 0;         // of requests that come in, and as many of answers; 0: from memory
  int64_t egress_threads = 2;
  double stall_seconds = 30.0;  // without a step while there is work: not serving
  double drain_seconds = 30.0;

  std::string listen = "127.0.0.1:50051";
  std::string metrics_listen = "127.0.0.1:9090";
  std::string admin_listen;              // empty: no Admin service
  std::string port_file;                 // empty: none is written
  int64_t max_connections = 0;           // of the API; 0: from the limit of open files
  int64_t max_connections_per_peer = 0;  // 0: three quarters of those

  std::string log_level = "info";
  std::string log_format = "text";
  std::string core_dumps = "off";
};

// Where a knob's value came from. A later one wins.
enum class KnobSource : uint8_t { kDefault, kFile, kEnvironment, kFlag, kAdmin };

struct KnobValue {
  std::string name;  // as the flag is called, without dashes
  std::string value;
  KnobSource source = KnobSource::kDefault;
};

struct ParsedConfig {
  Config config;
  std::vector<KnobValue> knobs;                // every one, in the order of the help
  std::map<std::string, std::string> origins;  // knob -> what names the place of its value; none of a default
  std::vector<std::string> warnings;
  std::string answer;  // help, the version or the configuration where one was asked for: to be printed, nothing to run
};

using Environment = std::map<std::string, std::string>;  // the variables that begin with LATENTD_
Environment ReadEnvironment();

// An error is one line that names the source, what was expected, what was found.
absl::StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv, const Environment& environment);

// An error about a knob, which begins with its name or with the file that it names, as one that begins with where the
// knob's value stands. Others stay as they are.
std::string WithOrigin(std::string_view error, const ParsedConfig& parsed);

// Whether --log-format, its variable or the file asks for JSON, be the rest of the configuration as wrong as it may.
bool AsksForJsonLog(int argc, const char* const* argv, const Environment& environment);

}  // namespace latentd
