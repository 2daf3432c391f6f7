// The flags of `latentctl load`.
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "base/command_line.h"
#include "tools/client/address_flag.h"
#include "tools/client/channel.h"
#include "tools/load/compare_command.h"
#include "tools/load/load_command.h"
#include "tools/load/load_help.h"

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

constexpr char kSweepFooter[] =
    "Levels double until two in a row are past the knee, where completed requests per second over their mean latency "
    "are\n"
    "highest; then the levels between are looked at. A level lasts 10 s unless --duration or --requests bounds it.\n"
    "Exit code: 0 the sweep was made; 1 it could not be.";

// Options that need more than a conversion.
struct TextFlags {
  std::string rate;
  std::string arrival = "poisson";
  std::string prompt_tokens = "64";
  std::string output_tokens = "64";
  std::string prefix_tokens, tenants, priorities, adversaries;
  std::string slo;
  std::string deadline_seconds = "0.02:0.2";
  std::optional<double> temperature, top_p;
  std::optional<uint32_t> top_k, n, max_drafts;
  std::optional<uint64_t> seed;
};

struct LoadFlags {
  LoadOptions options;
  TextFlags text;
};

void AddServerFlags(Command command, RunOptions& run) {
  run.server = "127.0.0.1:50051";
  Flag address = AddressFlag("--server", run.server, AddressUse::kGrpcClient);
  address.help = "HOST:PORT, [IPV6]:PORT or unix:/PATH of the daemon";
  address.shows_default = true;
  command.Add(std::move(address));
  AddDialingFlags(command, run.dialing);
}

void AddLevelFlags(Command command, LoadFlags& flags) {
  command.Add({.name = "--concurrency",
               .target = &flags.options.run.concurrency,
               .help = "Closed loop: streams at a time",
               .shows_default = true});
  command.Add({.name = "--rate",
               .target = &flags.text.rate,
               .help = "Open loop: requests per second, whatever the server does; FROM:TO changes over --duration",
               .excludes = "--concurrency"});
  command.Add({.name = "--trace",
               .target = &flags.options.workload.trace_file,
               .help =
                   "File of a recorded load: timestamp (ms), input_length, output_length, hash_ids; sent as it came, "
                   "or at --rate",
               .excludes = "--concurrency"});
  command.Add({.name = "--trace-block-tokens",
               .target = &flags.options.workload.trace_block_tokens,
               .help = "Tokens that a hash id stands for; all lengths shrink with it",
               .rule = Whole<uint32_t>(),
               .shows_default = true});
}

void AddLoopFlags(Command command, LoadFlags& flags) {
  RunOptions& run = flags.options.run;
  command.Add({.name = "--arrival",
               .target = &flags.text.arrival,
               .help = "Open loop: constant, poisson or gamma:SHAPE, which comes in bursts where SHAPE is below 1",
               .shows_default = true});
  command.Add({.name = "--requests",
               .target = &run.max_requests,
               .help = "Requests to send at most; default: 1000 if --duration is not given",
               .rule = Whole<uint64_t>()});
  command.Add({.name = "--duration",
               .target = &run.duration_seconds,
               .help = "Seconds to send for; default: 60 if --requests is not given"});
}

void AddClientFlags(Command command, LoadFlags& flags) {
  RunOptions& run = flags.options.run;
  run.timeout_seconds = 120.0;
  command.Add(
      {.name = "--warmup", .target = &run.warmup_seconds, .help = "The first seconds, which the statistics leave out"});
  command.Add({.name = "--timeout",
               .target = &run.timeout_seconds,
               .help = "Deadline of a request in seconds",
               .shows_default = true});
  command.Add({.name = "--connections",
               .target = &run.connections,
               .help = "TCP connections that the streams share",
               .shows_default = true});
  command.Add({.name = "--client-threads",
               .target = &run.client_threads,
               .help = "Threads of the client, at most --connections",
               .shows_default = true});
  command.Add({.name = "--max-lag",
               .target = &flags.options.max_lag_seconds,
               .help = "Open loop: INVALID where the p99 of the client's own lag is above, or its worst above ten "
                       "times so many seconds",
               .shows_default = true});
}

void AddPromptFlags(Command command, LoadFlags& flags) {
  WorkloadOptions& workload = flags.options.workload;
  command.Add({.name = "--prompt-tokens",
               .target = &flags.text.prompt_tokens,
               .help = "Random token ids per prompt: N, or normal as MEAN:DEVIATION or MEAN:DEVIATION:MIN:MAX; behind "
                       "lognormal: with a long tail",
               .shows_default = true});
  command.Add({.name = "--prefix-tokens",
               .target = &flags.text.prefix_tokens,
               .help = "Token ids before those that all requests of a group share, in the same form"});
  command.Add({.name = "--prefix-groups",
               .target = &workload.prefix_groups,
               .help = "Such groups; each request belongs to one",
               .rule = Whole<uint32_t>(),
               .shows_default = true});
  command.Add({.name = "--turns",
               .target = &workload.turns,
               .help = "Of a conversation: each prompt is the last one, its answer and --prompt-tokens more, sent when "
                       "that answer is there; --rate counts conversations",
               .rule = Whole<uint32_t>(),
               .shows_default = true});
  command.Add({.name = "--output-tokens",
               .target = &flags.text.output_tokens,
               .help = "max_tokens per request, in the same form",
               .shows_default = true});
  command.Add({.name = "--text",
               .target = &workload.texts,
               .help = "A prompt as text; may be given several times, used in turn"});
  command.Add({.name = "--jsonl",
               .target = &workload.jsonl_file,
               .help = "File of requests, used in turn: prompt or token_ids, and perhaps max_tokens, ignore_eos, "
                       "sampling, max_drafts"});
}

void AddPartyFlags(Command command, TextFlags& text) {
  command.Add({.name = "--tenants",
               .target = &text.tenants,
               .help = "NAME:SHARE[:WEIGHT],…: who sends how much, with the weight that the server gives them; reports "
                       "each and how fair it was"});
  command.Add({.name = "--priorities",
               .target = &text.priorities,
               .help = "PRIORITY:SHARE,…: scheduling.priority of how much of the requests"});
}

void AddAnswerFlags(Command command, LoadFlags& flags) {
  WorkloadOptions& workload = flags.options.workload;
  command.Add({.name = "!--no-ignore-eos",
               .target = &workload.ignore_eos,
               .help = "Lets end-of-sequence end an answer before max_tokens"});
  command.Add({.name = "--token-ids",
               .target = &workload.asks_for_token_ids,
               .help = "Asks for token ids beside the text; --check always does"});
  command.Add(
      {.name = "--temperature", .target = &flags.text.temperature, .help = "0 is greedy; default: the model's"});
  command.Add({.name = "--top-p", .target = &flags.text.top_p, .help = "Default: the model's"});
  command.Add(
      {.name = "--top-k", .target = &flags.text.top_k, .help = "Default: the model's", .rule = Whole<uint32_t>()});
  command.Add({.name = "--n",
               .target = &flags.text.n,
               .help = "Answers to each request, of --output-tokens each; default: 1",
               .rule = Whole<uint32_t>()});
  command.Add({.name = "--max-drafts",
               .target = &flags.text.max_drafts,
               .help = "Tokens to draft ahead at most, 0 to 8; default: as the server chooses",
               .rule = WholeInRange(0, 8)});
  command.Add({.name = "--seed",
               .target = &flags.text.seed,
               .help = "The same seed gives the same requests; default: drawn, and printed",
               .rule = Whole<uint64_t>()});
}

void AddMixFlags(Command command, LoadFlags& flags) {
  WorkloadOptions& workload = flags.options.workload;
  command.Add({.name = "--adversaries",
               .target = &flags.text.adversaries,
               .help =
                   "NAME:FRACTION,… of the requests, over connections of their own: cancel, deadline, reader, request "
                   "or all, or one kind of those, such as cancel-decode, slow-reader or oversize"});
  command.Add({.name = "--deadline-seconds",
               .target = &flags.text.deadline_seconds,
               .help = "LOW:HIGH of the adversaries' deadlines",
               .shows_default = true});
  command.Add({.name = "--half-open",
               .target = &flags.options.run.half_open,
               .help = "Connections beside the load on which half a request stands",
               .shows_default = true});
  command.Add({.name = "--accept-refusals",
               .target = &workload.accepts_refusals,
               .help = "A refusal by a server that is full is no failure"});
  command.Add({.name = "--probe",
               .target = &flags.options.has_probe,
               .help = "One more stream with a connection of its own, measured apart: how a victim fares"});
}

void AddReportFlags(Command command, LoadFlags& flags) {
  command.Add({.name = "--slo",
               .target = &flags.text.slo,
               .help = "Goodput: requests that meet ttft=S,tpot=S,e2e=S in seconds, any of them"});
  command.Add({.name = "--check",
               .target = &flags.options.checks,
               .help = "Compares answers with a quiet run, and with --metrics the accounts of client and server"});
  command.Add({.name = "--check-requests",
               .target = &flags.options.max_checked_requests,
               .help = "Answers to compare at most",
               .shows_default = true});
  Flag metrics = AddressFlag("--metrics", flags.options.metrics, AddressUse::kHttpClient);
  metrics.help = "HOST:PORT or [IPV6]:PORT of the daemon's metrics, for --check";
  command.Add(std::move(metrics));
  command.Add({.name = "--json",
               .target = &flags.options.json_file,
               .help = "File for all parameters, figures and histograms"});
  command.Add({.name = "--csv",
               .target = &flags.options.csv_file,
               .help = "File with a line for each request, or each level of a sweep"});
  command.Add({.name = "--html", .target = &flags.options.html_file, .help = "File for a page with plots"});
}

// Into `value`, where the text is given.
template <class Value, class Target>
absl::Status Take(const std::string& text, absl::StatusOr<Value> (*parse)(std::string_view), Target& value) {
  if (text.empty()) return absl::OkStatus();
  absl::StatusOr<Value> parsed = parse(text);
  if (parsed.ok()) value = *std::move(parsed);
  return parsed.status();
}

template <class Target>
absl::Status TakeLengths(const char* flag, const std::string& text, Target& value) {
  if (text.empty()) return absl::OkStatus();
  const absl::StatusOr<LengthDistribution> lengths = ParseLengths(flag, text);
  if (lengths.ok()) value = *lengths;
  return lengths.status();
}

absl::Status Interpret(const TextFlags& text, LoadOptions& options) {
  WorkloadOptions& workload = options.workload;
  absl::Status status = Take(text.arrival, ParseArrival, options.run.arrival);
  status.Update(Take(text.rate, ParseRate, options.run.rate));
  status.Update(TakeLengths("--prompt-tokens", text.prompt_tokens, workload.prompt_tokens));
  status.Update(TakeLengths("--output-tokens", text.output_tokens, workload.output_tokens));
  status.Update(TakeLengths("--prefix-tokens", text.prefix_tokens, workload.prefix_tokens));
  status.Update(Take(text.tenants, ParseTenants, workload.tenants));
  status.Update(Take(text.priorities, ParsePriorities, workload.priorities));
  status.Update(Take(text.adversaries, ParseAdversaries, workload.adversaries));
  status.Update(Take(text.slo, ParseSlo, options.slo));
  if (!status.ok()) return status;
  if (absl::Status status = ParseDeadlines(text.deadline_seconds, workload); !status.ok()) return status;
  if (text.temperature) workload.sampling.set_temperature(static_cast<float>(*text.temperature));
  if (text.top_p) workload.sampling.set_top_p(static_cast<float>(*text.top_p));
  if (text.top_k) workload.sampling.set_top_k(*text.top_k);
  if (text.n) workload.sampling.set_n(*text.n);
  workload.max_drafts = text.max_drafts;
  // 32 bits, which every reader of JSON holds exactly.
  workload.seed = text.seed ? *text.seed : std::random_device()();
  return absl::OkStatus();
}

void AddSharedFlags(Command command, LoadFlags& flags) {
  AddServerFlags(command, flags.options.run);
  AddLoopFlags(command, flags);
  AddClientFlags(command, flags);
  AddPromptFlags(command, flags);
  AddPartyFlags(command, flags.text);
  AddAnswerFlags(command, flags);
  AddMixFlags(command, flags);
  AddReportFlags(command, flags);
}

// Says what is wrong and how the program ends, where something is.
bool Refuses(const absl::Status& status, int& code) {
  if (status.ok()) return false;
  std::cerr << "latentctl load: " << status.message() << "\n";
  code = 1;
  return true;
}

struct SweepFlags {
  LoadFlags load;
  SweepOptions sweep;
  std::string over = "concurrency";
  std::string levels = "1:1024";
};

Command AddSweepCommand(Command load, int& code) {
  Command command = load.AddCommand("sweep", "Send a load at one level after the other and find the knee");
  const auto flags = std::make_shared<SweepFlags>();
  command.Add({.name = "--over",
               .target = &flags->over,
               .help = "What the levels are: streams at a time (concurrency) or requests per second (rate)",
               .rule = OneOf({"concurrency", "rate"}),
               .shows_default = true});
  command.Add({.name = "--levels",
               .target = &flags->levels,
               .help = "LOW:HIGH, doubled from LOW until the knee is passed",
               .shows_default = true});
  command.Add({.name = "--find-max-goodput",
               .target = &flags->sweep.goodput_fraction,
               .help = "Searches for the highest level at which this part of the requests meets --slo, instead",
               .rule = InRange(0.0, 1.0)});
  AddSharedFlags(command, flags->load);
  command.SetFooter(kSweepFooter);
  command.OnParsed([flags, &code] {
    flags->sweep.over = flags->over == "rate" ? SweepOver::kRate : SweepOver::kConcurrency;
    absl::Status status = ParseLevels(flags->levels, flags->sweep);
    status.Update(Interpret(flags->load.text, flags->load.options));
    if (!Refuses(status, code)) code = Sweep(flags->load.options, flags->sweep);
  });
  return command;
}

}  // namespace

void AddLoadCommand(Command program, int& code) {
  Command command = program.AddCommand(kLoadCommand, kLoadHelp);
  command.SetFooter(kFooter);
  const auto flags = std::make_shared<LoadFlags>();
  AddLevelFlags(command, *flags);
  AddSharedFlags(command, *flags);
  const Command compare = AddCompareCommand(command, code);
  const Command sweep = AddSweepCommand(command, code);
  command.OnParsed([command, compare, sweep, flags, &code] {
    if (compare.IsNamed() || sweep.IsNamed()) return;
    LoadOptions& options = flags->options;
    if (command.IsGiven("--rate") || command.IsGiven("--trace")) options.run.loop = Loop::kOpen;
    if (!Refuses(Interpret(flags->text, options), code)) code = Load(options);
  });
}

}  // namespace latentd
