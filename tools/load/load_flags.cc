// The flags of `latentctl load`.
#include <memory>
#include <random>

#include <CLI/CLI.hpp>

#include "tools/client/address_flag.h"
#include "tools/client/channel.h"
#include "tools/client/number_flags.h"
#include "tools/load/load_command.h"

namespace latentd {
namespace {

constexpr char kFooter[] =
    "Latency in an open loop counts from the intended start, so a server that stalls cannot hide it (no coordinated\n"
    "omission); the client's own lag is measured apart. Inter-token latency: a message with k tokens is one wait and\n"
    "k - 1 waits of 0. TTFT, second token and ITL are of all requests that got that far, TPOT, end to end and the\n"
    "server's timings of those that succeeded.\n"
    "Exit code: 0 good; 1 requests failed that the mix did not plan, a check failed, or the run could not be made;\n"
    "2 INVALID, the client lagged more than --max-lag (1 where both are the case). Ctrl-C sends no more, cancels what "
    "is\n"
    "in flight and reports; what it cancelled is no failure.";

// Options that need more than a conversion.
struct TextFlags {
  std::string arrival = "poisson";
  std::string prompt_tokens = "64";
  std::string output_tokens = "64";
  std::string slo;
  std::string deadline_seconds = "0.02:0.2";
  std::optional<double> temperature, top_p;
  std::optional<uint32_t> top_k;
  std::optional<uint64_t> seed;
};

struct LoadFlags {
  LoadOptions options;
  TextFlags text;
};

void AddRunFlags(CLI::App& app, LoadFlags& flags) {
  RunOptions& run = flags.options.run;
  run.server = "127.0.0.1:50051";
  run.timeout_seconds = 120.0;
  AddAddressFlag(app, "--server", run.server, AddressUse::kGrpcClient)
      ->description("HOST:PORT, [IPV6]:PORT or unix:/PATH of the daemon")
      ->capture_default_str();
  app.add_flag("--no-proxy", run.no_proxy, kNoProxyHelp);
  CLI::Option* closed = app.add_option("--concurrency", run.concurrency, "Closed loop: streams at a time");
  closed->capture_default_str();
  app.add_option("--rate", run.rate, "Open loop: requests per second, whatever the server does")->excludes(closed);
  app.add_option("--arrival", flags.text.arrival, "Open loop: constant or poisson")
      ->check(CLI::IsMember({"constant", "poisson"}))
      ->capture_default_str();
  app.add_option("--requests", run.max_requests, "Requests to send at most; default: 1000 if --duration is not given")
      ->check(Whole<uint64_t>());
  app.add_option("--duration", run.duration_seconds, "Seconds to send for; default: 60 if --requests is not given");
  app.add_option("--warmup", run.warmup_seconds, "The first seconds, which the statistics leave out");
  app.add_option("--timeout", run.timeout_seconds, "Deadline of a request in seconds")->capture_default_str();
  app.add_option("--connections", run.connections, "TCP connections that the streams share")->capture_default_str();
  app.add_option("--client-threads", run.client_threads, "Threads of the client, at most --connections")
      ->capture_default_str();
  app.add_option("--max-lag", flags.options.max_lag_seconds,
                 "Open loop: INVALID where the p99 of the client's own lag is above, or its worst above ten times so "
                 "many seconds")
      ->capture_default_str();
}

void AddWorkloadFlags(CLI::App& app, LoadFlags& flags) {
  WorkloadOptions& workload = flags.options.workload;
  app.add_option("--prompt-tokens", flags.text.prompt_tokens,
                 "Random token ids per prompt: N, or normal as MEAN:DEVIATION or MEAN:DEVIATION:MIN:MAX")
      ->capture_default_str();
  app.add_option("--output-tokens", flags.text.output_tokens, "max_tokens per request, in the same form")
      ->capture_default_str();
  app.add_option("--text", workload.texts, "A prompt as text; may be given several times, used in turn")
      ->allow_extra_args(false);
  app.add_option("--jsonl", workload.jsonl_file,
                 "File of requests, used in turn: prompt or token_ids, and perhaps max_tokens, ignore_eos, sampling");
  app.add_flag("!--no-ignore-eos", workload.ignore_eos, "Lets end-of-sequence end an answer before max_tokens");
  app.add_flag("--token-ids", workload.asks_for_token_ids, "Asks for token ids beside the text; --check always does");
  app.add_option("--temperature", flags.text.temperature, "0 is greedy; default: the model's");
  app.add_option("--top-p", flags.text.top_p, "Default: the model's");
  app.add_option("--top-k", flags.text.top_k, "Default: the model's")->check(Whole<uint32_t>());
  app.add_option("--seed", flags.text.seed, "The same seed gives the same requests; default: drawn, and printed")
      ->check(Whole<uint64_t>());
}

void AddMixFlags(CLI::App& app, LoadFlags& flags) {
  WorkloadOptions& workload = flags.options.workload;
  app.add_option("--cancel-fraction", workload.cancel_fraction,
                 "Requests that the client cancels: half before their first token, half after some");
  app.add_option("--deadline-fraction", workload.deadline_fraction,
                 "Requests with a tight deadline: half the RPC's own, half scheduling.timeout");
  app.add_option("--deadline-seconds", flags.text.deadline_seconds, "LOW:HIGH of those")->capture_default_str();
}

void AddReportFlags(CLI::App& app, LoadFlags& flags) {
  app.add_option("--slo", flags.text.slo, "Goodput: requests that meet ttft=S,tpot=S,e2e=S in seconds, any of them");
  app.add_flag("--check", flags.options.checks,
               "Compares answers with a quiet run, and with --metrics the accounts of client and server");
  app.add_option("--check-requests", flags.options.max_checked_requests, "Answers to compare at most")
      ->capture_default_str();
  AddAddressFlag(app, "--metrics", flags.options.metrics, AddressUse::kHttpClient)
      ->description("HOST:PORT or [IPV6]:PORT of the daemon's metrics, for --check");
  app.add_option("--json", flags.options.json_file, "File for all parameters, figures and histograms");
  app.add_option("--html", flags.options.html_file, "File for a page with plots");
}

absl::Status Interpret(const TextFlags& text, LoadOptions& options) {
  options.run.arrival = text.arrival == "constant" ? Arrival::kConstant : Arrival::kPoisson;
  WorkloadOptions& workload = options.workload;
  absl::StatusOr<LengthDistribution> prompt = ParseLengths("--prompt-tokens", text.prompt_tokens);
  if (!prompt.ok()) return prompt.status();
  absl::StatusOr<LengthDistribution> output = ParseLengths("--output-tokens", text.output_tokens);
  if (!output.ok()) return output.status();
  workload.prompt_tokens = *prompt;
  workload.output_tokens = *output;
  if (absl::Status status = ParseDeadlines(text.deadline_seconds, workload); !status.ok()) return status;
  if (!text.slo.empty()) {
    const absl::StatusOr<Slo> slo = ParseSlo(text.slo);
    if (!slo.ok()) return slo.status();
    options.slo = *slo;
  }
  if (text.temperature) workload.sampling.set_temperature(static_cast<float>(*text.temperature));
  if (text.top_p) workload.sampling.set_top_p(static_cast<float>(*text.top_p));
  if (text.top_k) workload.sampling.set_top_k(*text.top_k);
  // 32 bits, which every reader of JSON holds exactly.
  workload.seed = text.seed ? *text.seed : std::random_device()();
  return absl::OkStatus();
}

}  // namespace

void AddLoadCommand(CLI::App& app, int& code) {
  CLI::App* command = app.add_subcommand("load", "Send a load and measure it: closed or open loop");
  command->footer(kFooter);
  const auto flags = std::make_shared<LoadFlags>();
  AddRunFlags(*command, *flags);
  AddWorkloadFlags(*command, *flags);
  AddMixFlags(*command, *flags);
  AddReportFlags(*command, *flags);
  command->callback([command, flags, &code] {
    LoadOptions& options = flags->options;
    if (command->count("--rate") > 0) options.run.loop = Loop::kOpen;
    if (const absl::Status status = Interpret(flags->text, options); !status.ok()) {
      std::cerr << "latentctl load: " << status.message() << "\n";
      code = 1;
      return;
    }
    code = Load(options);
  });
}

}  // namespace latentd
