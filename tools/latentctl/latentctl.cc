// The command line of latentctl: flags to messages, then the subcommand.
#include <cmath>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/duration.pb.h>

#include "base/command_line.h"
#include "base/standard_descriptors.h"
#include "tools/client/address_flag.h"
#include "tools/client/channel.h"
#include "tools/client/program_line.h"
#include "tools/latentctl/admin_flags.h"
#include "tools/latentctl/commands.h"
#include "tools/latentctl/program_beside.h"
#include "tools/latentctl/token_command.h"

namespace latentd {
namespace {

constexpr int kLowestPriority = -8, kHighestPriority = 8, kMostDrafts = 8;  // as generation.proto says

struct GenerationFlags {
  std::optional<float> temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty;
  std::optional<uint32_t> top_k, max_tokens, min_tokens, logprobs, n, max_drafts;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<uint32_t> stop_token_ids;
  bool include_stop = false;
  bool ignore_eos = false;
  bool print_special_tokens = false;
};

// What the request shares with others, and its place among them.
struct SharingFlags {
  int priority = 0;
  std::optional<double> ttft_slo, keep_for;  // seconds
  std::string salt;
  bool bypass_cache = false;
  bool no_store = false;
};

struct PromptFlags {
  std::string text;
  std::vector<uint32_t> ids;
  bool no_special_tokens = false;
  bool safe_mode = false;
};

void AddSamplingFlags(Command command, GenerationFlags& flags) {
  command.Add({.name = "--temperature", .target = &flags.temperature, .help = "0 is greedy; default: the model's"});
  command.Add({.name = "--top-p", .target = &flags.top_p, .help = "Default: the model's"});
  command.Add({.name = "--top-k", .target = &flags.top_k, .help = "0 is off", .rule = Whole<uint32_t>()});
  command.Add({.name = "--min-p", .target = &flags.min_p, .help = "0 is off"});
  command.Add({.name = "--presence-penalty", .target = &flags.presence_penalty});
  command.Add({.name = "--frequency-penalty", .target = &flags.frequency_penalty});
  command.Add({.name = "--repetition-penalty", .target = &flags.repetition_penalty, .help = "1 is off"});
  command.Add({.name = "--seed",
               .target = &flags.seed,
               .help = "The same seed gives the same answer; default: drawn by the server",
               .rule = Whole<uint64_t>()});
  command.Add({.name = "--n",
               .target = &flags.n,
               .help = "Answers, 1 to 64, each printed when it is complete; default: 1, printed as it comes",
               .rule = Whole<uint32_t>()});
}

void AddStoppingFlags(Command command, GenerationFlags& flags) {
  command.Add({.name = "--max-tokens",
               .target = &flags.max_tokens,
               .help = "Default: what the context leaves room for",
               .rule = Whole<uint32_t>()});
  command.Add({.name = "--min-tokens", .target = &flags.min_tokens, .rule = Whole<uint32_t>()});
  command.Add({.name = "--stop",
               .target = &flags.stop,
               .help = "Ends the answer where this text appears; may be given several times"});
  command.Add({.name = "--stop-token-id",
               .target = &flags.stop_token_ids,
               .help = "May be given several times",
               .rule = Whole<uint32_t>()});
  command.Add(
      {.name = "--include-stop", .target = &flags.include_stop, .help = "Keeps the matched stop in the answer"});
  command.Add({.name = "--ignore-eos", .target = &flags.ignore_eos, .help = "Goes on past the end of the answer"});
}

void AddGenerationFlags(Command command, GenerationFlags& flags) {
  AddSamplingFlags(command, flags);
  AddStoppingFlags(command, flags);
  command.Add({.name = "--print-special-tokens",
               .target = &flags.print_special_tokens,
               .help = "Prints the special tokens of the answer, too"});
  command.Add({.name = "--max-drafts",
               .target = &flags.max_drafts,
               .help = "Tokens to draft ahead at most, 0 to 8: the answer is the same; default: as the server chooses",
               .rule = WholeInRange(0, kMostDrafts)});
  command.Add({.name = "--logprobs",
               .target = &flags.logprobs,
               .help = "Log-probabilities of each token and so many alternatives; with --json",
               .rule = Whole<uint32_t>()});
}

void AddSharingFlags(Command command, CommonOptions& common, SharingFlags& flags) {
  command.Add({.name = "--priority",
               .target = &flags.priority,
               .help = "-8 to 8, higher runs first",
               .rule = WholeInRange(kLowestPriority, kHighestPriority)});
  command.Add(
      {.name = "--tenant", .target = &common.tenant, .help = "For whom the request counts", .rule = PrintableUpTo(64)});
  command.Add({.name = "--ttft-slo",
               .target = &flags.ttft_slo,
               .help = "Seconds to the first token: refused as soon as it cannot be met",
               .rule = SecondsUpToAYear()});
  command.Add({.name = "--salt", .target = &flags.salt, .help = "Shares cached prefixes with the same salt only"});
  command.Add({.name = "--bypass-cache", .target = &flags.bypass_cache, .help = "Takes nothing from the prefix cache"});
  command.Add({.name = "--no-store", .target = &flags.no_store, .help = "Leaves nothing in the prefix cache"});
  command.Add({.name = "--keep-for",
               .target = &flags.keep_for,
               .help = "Seconds for which what it leaves there goes after all else",
               .rule = SecondsUpToAYear(),
               .excludes = "--no-store"});
}

google::protobuf::Duration DurationOf(double seconds) {
  const auto nanos = static_cast<int64_t>(std::llround(seconds * 1e9));
  google::protobuf::Duration duration;
  duration.set_seconds(nanos / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return duration;
}

template <class Request>
void SetSharing(const SharingFlags& flags, Request& request) {
  if (flags.priority != 0) request.mutable_scheduling()->set_priority(flags.priority);
  if (flags.ttft_slo) *request.mutable_scheduling()->mutable_ttft_slo() = DurationOf(*flags.ttft_slo);
  if (!flags.salt.empty()) request.mutable_cache()->set_salt(flags.salt);
  if (flags.bypass_cache) request.mutable_cache()->set_bypass(true);
  if (flags.no_store) request.mutable_cache()->set_no_store(true);
  if (flags.keep_for) *request.mutable_cache()->mutable_keep_for() = DurationOf(*flags.keep_for);
}

// How a text becomes token ids.
void AddEncodingFlags(Command command, PromptFlags& flags) {
  command.Add(
      {.name = "--no-special-tokens", .target = &flags.no_special_tokens, .help = "Adds no begin-of-sequence token"});
  command.Add(
      {.name = "--safe-mode", .target = &flags.safe_mode, .help = "Takes special tokens in the text for plain text"});
}

template <class Request>
void SetEncoding(const PromptFlags& flags, Request& request) {
  if (flags.no_special_tokens) request.set_add_special_tokens(false);
  if (flags.safe_mode) request.set_safe_mode(true);
}

void AddPromptFlags(Command command, PromptFlags& flags) {
  command.Add({.name = "prompt", .target = &flags.text, .help = "Default: all of stdin"});
  command.Add({.name = "--ids",
               .target = &flags.ids,
               .help = "The prompt as token ids: --ids 0,17,42",
               .rule = Whole<uint32_t>(),
               .excludes = "prompt",
               .delimiter = ','});
  AddEncodingFlags(command, flags);
}

template <class Request>
void SetPrompt(const PromptFlags& flags, Request& request) {
  if (!flags.ids.empty()) {
    request.mutable_token_ids()->mutable_ids()->Add(flags.ids.begin(), flags.ids.end());
  } else if (!flags.text.empty()) {
    request.set_text(flags.text);
  } else {
    request.set_text(std::string(std::istreambuf_iterator<char>(std::cin), {}));
  }
  SetEncoding(flags, request);
}

template <class Request>
void SetGeneration(const GenerationFlags& flags, Request& request) {
  v1::Sampling& sampling = *request.mutable_sampling();
  if (flags.temperature) sampling.set_temperature(*flags.temperature);
  if (flags.top_p) sampling.set_top_p(*flags.top_p);
  if (flags.top_k) sampling.set_top_k(*flags.top_k);
  if (flags.min_p) sampling.set_min_p(*flags.min_p);
  if (flags.presence_penalty) sampling.set_presence_penalty(*flags.presence_penalty);
  if (flags.frequency_penalty) sampling.set_frequency_penalty(*flags.frequency_penalty);
  if (flags.repetition_penalty) sampling.set_repetition_penalty(*flags.repetition_penalty);
  if (flags.seed) sampling.set_seed(*flags.seed);
  if (flags.n) sampling.set_n(*flags.n);
  v1::Stopping& stopping = *request.mutable_stopping();
  if (flags.max_tokens) stopping.set_max_tokens(*flags.max_tokens);
  if (flags.min_tokens) stopping.set_min_tokens(*flags.min_tokens);
  for (const std::string& stop : flags.stop) stopping.add_stop(stop);
  stopping.mutable_stop_token_ids()->Add(flags.stop_token_ids.begin(), flags.stop_token_ids.end());
  if (flags.include_stop) stopping.set_include_stop(true);
  if (flags.ignore_eos) stopping.set_ignore_eos(true);
  if (flags.print_special_tokens) request.mutable_output()->set_skip_special_tokens(false);
  if (flags.max_drafts) request.mutable_speculation()->set_max_drafts(*flags.max_drafts);
  if (flags.logprobs) request.mutable_output()->set_logprobs(*flags.logprobs);
}

// All that the command line can hold; each subcommand reads its part.
struct Flags {
  CommonOptions common;
  PromptFlags prompt;
  GenerationFlags generation;
  SharingFlags sharing;
  std::string system, service;
  std::vector<uint32_t> ids;
  uint32_t top_logprobs = 0;
  double wait_seconds = 0.0;
};

Command AddCommand(Command program, const std::string& name, const std::string& what, Flags& flags) {
  Command command = program.AddCommand(name, what);
  Flag address = AddressFlag("--server", flags.common.server, AddressUse::kGrpcClient);
  address.help = "HOST:PORT, [IPV6]:PORT or unix:/PATH of the daemon";
  address.shows_default = true;
  command.Add(std::move(address));
  AddDialingFlags(command, flags.common.dialing);
  command.Add({.name = "--timeout",
               .target = &flags.common.timeout_seconds,
               .help = "Deadline in seconds; 0: none",
               .rule = SecondsUpToAYear()});
  command.Add({.name = "--json", .target = &flags.common.json, .help = "Messages as JSON, one per line"});
  return command;
}

Flag Stats(Flags& flags) {
  return {.name = "--stats",
          .target = &flags.common.stats,
          .help = "Tokens per second, time to first token and accepted drafts, on stderr"};
}

void AddGenerate(Command program, Flags& flags, int& code) {
  Command generate = AddCommand(program, "generate", "Continue a text, streaming", flags);
  AddPromptFlags(generate, flags.prompt);
  AddGenerationFlags(generate, flags.generation);
  AddSharingFlags(generate, flags.common, flags.sharing);
  generate.Add(Stats(flags));
  generate.OnParsed([&flags, &code] {
    v1::GenerateRequest request;
    SetPrompt(flags.prompt, request);
    SetGeneration(flags.generation, request);
    SetSharing(flags.sharing, request);
    code = Generate(flags.common, request);
  });
}

void AddChat(Command program, Flags& flags, int& code) {
  Command chat = AddCommand(program, "chat", "Talk: one line is one turn; Ctrl-C cancels the answer", flags);
  chat.Add({.name = "--system", .target = &flags.system, .help = "System message"});
  chat.Add({.name = "--safe-mode",
            .target = &flags.prompt.safe_mode,
            .help = "Takes special tokens in what is said for plain text"});
  AddGenerationFlags(chat, flags.generation);
  AddSharingFlags(chat, flags.common, flags.sharing);
  chat.Add(Stats(flags));
  chat.OnParsed([&flags, &code] {
    v1::ChatRequest request;
    SetGeneration(flags.generation, request);
    SetSharing(flags.sharing, request);
    if (flags.prompt.safe_mode) request.set_safe_mode(true);
    if (!flags.system.empty()) {
      v1::ChatMessage* message = request.add_messages();
      message->set_role("system");
      message->set_content(flags.system);
    }
    code = Converse(flags.common, std::move(request));
  });
}

void AddScore(Command program, Flags& flags, int& code) {
  Command score = AddCommand(program, "score", "Log-probabilities of a text", flags);
  AddPromptFlags(score, flags.prompt);
  score.Add({.name = "--top-logprobs",
             .target = &flags.top_logprobs,
             .help = "The best tokens at each position, 0 to 32",
             .rule = Whole<uint32_t>()});
  AddSharingFlags(score, flags.common, flags.sharing);
  score.OnParsed([&flags, &code] {
    v1::ScoreRequest request;
    SetPrompt(flags.prompt, request);
    SetSharing(flags.sharing, request);
    request.set_top_logprobs(flags.top_logprobs);
    code = Score(flags.common, request);
  });
}

void AddTokenize(Command program, Flags& flags, int& code) {
  Command tokenize = AddCommand(program, "tokenize", "Text to token ids", flags);
  tokenize.Add({.name = "text", .target = &flags.prompt.text, .help = "Default: all of stdin"});
  AddEncodingFlags(tokenize, flags.prompt);
  tokenize.OnParsed([&flags, &code] {
    v1::TokenizeRequest request;
    request.set_text(!flags.prompt.text.empty() ? flags.prompt.text
                                                : std::string(std::istreambuf_iterator<char>(std::cin), {}));
    SetEncoding(flags.prompt, request);
    code = Tokenize(flags.common, request);
  });
}

void AddDetokenize(Command program, Flags& flags, int& code) {
  Command detokenize = AddCommand(program, "detokenize", "Token ids to text", flags);
  detokenize.Add(
      {.name = "ids", .target = &flags.ids, .rule = Whole<uint32_t>(), .delimiter = ',', .is_required = true});
  detokenize.OnParsed([&flags, &code] {
    v1::DetokenizeRequest request;
    request.mutable_token_ids()->Add(flags.ids.begin(), flags.ids.end());
    code = Detokenize(flags.common, request);
  });
}

void AddLookups(Command program, Flags& flags, int& code) {
  Command model = AddCommand(program, "model", "What is served, and within which limits", flags);
  model.OnParsed([&flags, &code] { code = ShowModel(flags.common); });

  Command health = AddCommand(program, "health", "Exit code 0 if the daemon is serving", flags);
  health.Add({.name = "service",
              .target = &flags.service,
              .help = "For example latentd.v1.Generation; default: the whole daemon"});
  health.Add({.name = "--wait",
              .target = &flags.wait_seconds,
              .help = "Waits so many seconds for the daemon to be there and serve",
              .rule = SecondsUpToAYear()});
  health.OnParsed([&flags, &code] {
    code = flags.wait_seconds > 0.0 ? AwaitServing(flags.common, flags.service, flags.wait_seconds)
                                    : CheckHealth(flags.common, flags.service);
  });
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  const latentd::ProgramBeside* const beside = latentd::FindProgramBeside(argc, argv);
  if (beside != nullptr) return latentd::RunProgramBeside(*beside, argv);
  latentd::CommandLine line = latentd::LatentctlLine();
  latentd::Flags flags;
  int code = 0;
  latentd::AddGenerate(line.root(), flags, code);
  latentd::AddChat(line.root(), flags, code);
  latentd::AddScore(line.root(), flags, code);
  latentd::AddTokenize(line.root(), flags, code);
  latentd::AddDetokenize(line.root(), flags, code);
  latentd::AddLookups(line.root(), flags, code);
  const auto admin = latentd::AddAdminCommands(line.root(), code);
  for (const latentd::ProgramBeside& program : latentd::kProgramsBeside) {
    line.root().AddCommand(std::string(program.command), std::string(program.help));
  }
  const auto token = latentd::AddTokenCommand(line.root(), code);
  return latentd::FinishLatentctl(line, argc, argv, code);
}
