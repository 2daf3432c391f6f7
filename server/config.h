// What the operator chose: parsed once, constant afterwards. 0 means "the daemon decides" wherever a comment says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

namespace latentd {

struct Config {
  std::string model_directory;
  std::string listen = "127.0.0.1:50051";
  std::string metrics_listen = "127.0.0.1:9090";
  std::string admin_listen;  // empty: no Admin service
  std::string port_file;  // empty: none is written

  int threads = 0;             // 0: one per hardware thread
  int max_context_tokens = 0;  // 0: the smaller of the model's and what the cache can hold
  int64_t kv_blocks = 0;       // 0: from kv_bytes
  uint64_t kv_bytes = 0;       // 0: what max_rows full contexts need, at most 1 GiB
  int max_step_tokens = 512;
  double max_step_seconds = 0.1;
  int max_rows = 64;
  int max_queued_requests = 256;
  int64_t max_queued_tokens = 0;  // prompt tokens that may wait; 0: the daemon decides
  double slow_consumer_seconds = 30.0;
  int64_t max_pending_bytes = 256 << 10;  // output of one reader that waits to be written
  int egress_threads = 2;
  double stall_seconds = 30.0;  // without a step while there is work: not serving
  double drain_seconds = 30.0;
  std::string log_level = "info";
  std::string log_format = "text";
};

// OK with nothing to run: help or the version was asked for and printed.
struct ParsedConfig {
  Config config;
  bool has_answered = false;
};
absl::StatusOr<ParsedConfig> ParseConfig(int argc, char** argv);

}  // namespace latentd
