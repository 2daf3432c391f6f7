// The command line of latentctl: flags to messages, then the subcommand.
#include <cstdint>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/one_line.h"
#include "base/standard_descriptors.h"
#include "tools/client/address_flag.h"
#include "tools/client/channel.h"
#include "tools/client/number_flags.h"
#include "tools/latentctl/admin_flags.h"
#include "tools/latentctl/commands.h"
#include "tools/load/load_command.h"

namespace latentd {
namespace {

struct GenerationFlags {
  std::optional<float> temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty;
  std::optional<uint32_t> top_k, max_tokens, min_tokens, logprobs;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<uint32_t> stop_token_ids;
  bool include_stop = false;
  bool ignore_eos = false;
  bool print_special_tokens = false;
};

struct PromptFlags {
  std::string text;
  std::vector<uint32_t> ids;
  bool no_special_tokens = false;
  bool safe_mode = false;
};

void AddGenerationFlags(CLI::App& app, GenerationFlags& flags) {
  app.add_option("--temperature", flags.temperature, "0 is greedy; default: the model's");
  app.add_option("--top-p", flags.top_p, "Default: the model's");
  app.add_option("--top-k", flags.top_k, "0 is off")->check(Whole<uint32_t>());
  app.add_option("--min-p", flags.min_p, "0 is off");
  app.add_option("--presence-penalty", flags.presence_penalty);
  app.add_option("--frequency-penalty", flags.frequency_penalty);
  app.add_option("--repetition-penalty", flags.repetition_penalty, "1 is off");
  app.add_option("--seed", flags.seed, "The same seed gives the same answer; default: drawn by the server")
      ->check(Whole<uint64_t>());
  app.add_option("--max-tokens", flags.max_tokens, "Default: what the context leaves room for")
      ->check(Whole<uint32_t>());
  app.add_option("--min-tokens", flags.min_tokens)->check(Whole<uint32_t>());
  app.add_option("--stop", flags.stop, "Ends the answer where this text appears; may be given several times")
      ->allow_extra_args(false);
  app.add_option("--stop-token-id", flags.stop_token_ids, "May be given several times")
      ->allow_extra_args(false)
      ->check(Whole<uint32_t>());
  app.add_flag("--include-stop", flags.include_stop, "Keeps the matched stop in the answer");
  app.add_flag("--ignore-eos", flags.ignore_eos, "Goes on past the end of the answer");
  app.add_flag("--print-special-tokens", flags.print_special_tokens, "Prints the special tokens of the answer, too");
  app.add_option("--logprobs", flags.logprobs, "Log-probabilities of each token and so many alternatives; with --json")
      ->check(Whole<uint32_t>());
}

// How a text becomes token ids.
void AddEncodingFlags(CLI::App& app, PromptFlags& flags) {
  app.add_flag("--no-special-tokens", flags.no_special_tokens, "Adds no begin-of-sequence token");
  app.add_flag("--safe-mode", flags.safe_mode, "Takes special tokens in the text for plain text");
}

template <class Request>
void SetEncoding(const PromptFlags& flags, Request& request) {
  if (flags.no_special_tokens) request.set_add_special_tokens(false);
  if (flags.safe_mode) request.set_safe_mode(true);
}

void AddPromptFlags(CLI::App& app, PromptFlags& flags) {
  CLI::Option* text = app.add_option("prompt", flags.text, "Default: all of stdin");
  app.add_option("--ids", flags.ids, "The prompt as token ids: --ids 0,17,42")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(Whole<uint32_t>())
      ->excludes(text);
  AddEncodingFlags(app, flags);
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
  v1::Stopping& stopping = *request.mutable_stopping();
  if (flags.max_tokens) stopping.set_max_tokens(*flags.max_tokens);
  if (flags.min_tokens) stopping.set_min_tokens(*flags.min_tokens);
  for (const std::string& stop : flags.stop) stopping.add_stop(stop);
  stopping.mutable_stop_token_ids()->Add(flags.stop_token_ids.begin(), flags.stop_token_ids.end());
  if (flags.include_stop) stopping.set_include_stop(true);
  if (flags.ignore_eos) stopping.set_ignore_eos(true);
  if (flags.print_special_tokens) request.mutable_output()->set_skip_special_tokens(false);
  if (flags.logprobs) request.mutable_output()->set_logprobs(*flags.logprobs);
}

// All that the command line can hold; each subcommand reads its part.
struct Flags {
  CommonOptions common;
  PromptFlags prompt;
  GenerationFlags generation;
  std::string system, service;
  std::vector<uint32_t> ids;
  uint32_t top_logprobs = 0;
  double wait_seconds = 0.0;
};

CLI::App* AddCommand(CLI::App& app, const std::string& name, const std::string& what, Flags& flags) {
  CLI::App* command = app.add_subcommand(name, what);
  AddAddressFlag(*command, "--server", flags.common.server, AddressUse::kGrpcClient)
      ->description("HOST:PORT, [IPV6]:PORT or unix:/PATH of the daemon")
      ->capture_default_str();
  command->add_flag("--no-proxy", flags.common.no_proxy, kNoProxyHelp);
  command->add_option("--timeout", flags.common.timeout_seconds, "Deadline in seconds; 0: none")
      ->check(SecondsUpToAYear());
  command->add_flag("--json", flags.common.json, "Messages as JSON, one per line");
  return command;
}

void AddAnswers(CLI::App& app, Flags& flags, int& code) {
  CLI::App* generate = AddCommand(app, "generate", "Continue a text, streaming", flags);
  AddPromptFlags(*generate, flags.prompt);
  AddGenerationFlags(*generate, flags.generation);
  generate->add_flag("--stats", flags.common.stats, "Tokens per second and time to first token, on stderr");
  generate->callback([&flags, &code] {
    v1::GenerateRequest request;
    SetPrompt(flags.prompt, request);
    SetGeneration(flags.generation, request);
    code = Generate(flags.common, request);
  });

  CLI::App* chat = AddCommand(app, "chat", "Talk: one line is one turn; Ctrl-C cancels the answer", flags);
  chat->add_option("--system", flags.system, "System message");
  chat->add_flag("--safe-mode", flags.prompt.safe_mode, "Takes special tokens in what is said for plain text");
  AddGenerationFlags(*chat, flags.generation);
  chat->add_flag("--stats", flags.common.stats, "Tokens per second and time to first token, on stderr");
  chat->callback([&flags, &code] {
    v1::ChatRequest request;
    SetGeneration(flags.generation, request);
    if (flags.prompt.safe_mode) request.set_safe_mode(true);
    if (!flags.system.empty()) {
      v1::ChatMessage* message = request.add_messages();
      message->set_role("system");
      message->set_content(flags.system);
    }
    code = Converse(flags.common, std::move(request));
  });

  CLI::App* score = AddCommand(app, "score", "Log-probabilities of a text", flags);
  AddPromptFlags(*score, flags.prompt);
  score->add_option("--top-logprobs", flags.top_logprobs, "The best tokens at each position, 0 to 32")
      ->check(Whole<uint32_t>());
  score->callback([&flags, &code] {
    v1::ScoreRequest request;
    SetPrompt(flags.prompt, request);
    request.set_top_logprobs(flags.top_logprobs);
    code = Score(flags.common, request);
  });
}

void AddLookups(CLI::App& app, Flags& flags, int& code) {
  CLI::App* tokenize = AddCommand(app, "tokenize", "Text to token ids", flags);
  tokenize->add_option("text", flags.prompt.text, "Default: all of stdin");
  AddEncodingFlags(*tokenize, flags.prompt);
  tokenize->callback([&flags, &code] {
    v1::TokenizeRequest request;
    request.set_text(!flags.prompt.text.empty() ? flags.prompt.text
                                                : std::string(std::istreambuf_iterator<char>(std::cin), {}));
    SetEncoding(flags.prompt, request);
    code = Tokenize(flags.common, request);
  });

  CLI::App* detokenize = AddCommand(app, "detokenize", "Token ids to text", flags);
  detokenize->add_option("ids", flags.ids)->required()->delimiter(',')->check(Whole<uint32_t>());
  detokenize->callback([&flags, &code] {
    v1::DetokenizeRequest request;
    request.mutable_token_ids()->Add(flags.ids.begin(), flags.ids.end());
    code = Detokenize(flags.common, request);
  });

  CLI::App* model = AddCommand(app, "model", "What is served, and within which limits", flags);
  model->callback([&flags, &code] { code = ShowModel(flags.common); });

  CLI::App* health = AddCommand(app, "health", "Exit code 0 if the daemon is serving", flags);
  health->add_option("service", flags.service, "For example latentd.v1.Generation; default: the whole daemon");
  health->add_option("--wait", flags.wait_seconds, "Waits so many seconds for the daemon to be there and serve")
      ->check(SecondsUpToAYear());
  health->callback([&flags, &code] {
    code = flags.wait_seconds > 0.0 ? AwaitServing(flags.common, flags.service, flags.wait_seconds)
                                    : CheckHealth(flags.common, flags.service);
  });
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  CLI::App app("Talks to a latentd daemon.", "latentctl");
  app.require_subcommand(1);
  app.set_version_flag("--version", "latentctl " LATENTD_VERSION);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "latentctl: " + latentd::OnOneLine(error.what()) + "; see latentctl --help\n";
  });
  latentd::Flags flags;
  int code = 0;
  latentd::AddAnswers(app, flags, code);
  latentd::AddLookups(app, flags, code);
  const auto admin = latentd::AddAdminCommands(app, code);
  latentd::AddLoadCommand(app, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    code = app.exit(error);
  }
  return latentd::FinishStandardOutput("latentctl", code);
}
