#include "server/config.h"

#include <algorithm>
#include <iostream>

#include <CLI/CLI.hpp>

namespace latentd {
namespace {

void AddFlags(CLI::App& app, Config& config) {
  app.add_option("--model", config.model_directory,
                 "Directory of the model: config.json, *.safetensors, tokenizer.json")
      ->required();
  app.add_option("--listen", config.listen, "HOST:PORT of the gRPC API; port 0 takes a free one");
  app.add_option("--metrics-listen", config.metrics_listen, "HOST:PORT of Prometheus metrics; port 0 takes a free one");
  app.add_option("--admin-listen", config.admin_listen, "HOST:PORT of the Admin service; empty: off");
  app.add_option("--port-file", config.port_file, "File to write the bound addresses to, as JSON, once serving");
  app.add_option("--threads", config.threads, "Threads that compute; 0: one per hardware thread")
      ->check(CLI::Range(0, 1024));
  app.add_option("--max-context-tokens", config.max_context_tokens,
                 "Prompt and answer together; 0: the smaller of the model's and what the cache can hold")
      ->check(CLI::Range(0, 1 << 24));
  CLI::Option* blocks = app.add_option("--kv-blocks", config.kv_blocks, "Cache size in blocks of 64 tokens")
                            ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  app.add_option("--kv-bytes", config.kv_bytes,
                 "Cache size in bytes; 0: what max-rows full contexts need, at most 1 GiB")
      ->excludes(blocks);
  app.add_option("--max-step-tokens", config.max_step_tokens, "Tokens that one step computes at most")
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--max-step-seconds", config.max_step_seconds, "Time that one step should take at most")
      ->check(CLI::Range(0.001, 3600.0));
  app.add_option("--max-rows", config.max_rows, "Requests that run in one step at most")->check(CLI::Range(1, 4096));
  app.add_option("--max-queued-requests", config.max_queued_requests, "Requests that may wait; more are refused")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max-queued-tokens", config.max_queued_tokens, "Prompt tokens that may wait; 0: the daemon decides")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_option("--slow-consumer-seconds", config.slow_consumer_seconds,
                 "A reader that takes nothing for so long while its answer waits is given up")
      ->check(CLI::Range(0.01, 86400.0));
  app.add_option("--max-pending-bytes", config.max_pending_bytes,
                 "Output of one reader that may wait before its sequence pauses")
      ->check(CLI::Range(int64_t{1024}, int64_t{1} << 30));
  app.add_option("--egress-threads", config.egress_threads, "Threads that write answers")->check(CLI::Range(1, 64));
  app.add_option("--stall-seconds", config.stall_seconds,
                 "Without a step for so long while requests run, health says NOT_SERVING")
      ->check(CLI::Range(0.01, 86400.0));
  app.add_option("--drain-seconds", config.drain_seconds, "Time that requests in flight get after SIGTERM or SIGINT")
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--log-level", config.log_level, "trace, debug, info, warning, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}));
  app.add_option("--log-format", config.log_format, "text, or json: one object per line")
      ->check(CLI::IsMember({"text", "json"}));
  app.option_defaults()->always_capture_default();
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

absl::StatusOr<ParsedConfig> ParseConfig(int argc, char** argv) {
  ParsedConfig parsed;
  CLI::App app("Serves one DeepSeek-architecture language model over gRPC.", "latentd");
  app.set_version_flag("--version", "latentd 0.1.0");
  try {
    AddFlags(app, parsed.config);
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    parsed.has_answered = true;
  } catch (const CLI::CallForVersion&) {
    std::cout << "latentd 0.1.0\n";
    parsed.has_answered = true;
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(OneLine(error.what()) + "; see latentd --help");
  }
  return parsed;
}

}  // namespace latentd
