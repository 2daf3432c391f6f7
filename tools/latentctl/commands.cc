#include "tools/latentctl/commands.h"

#include <cmath>
#include <iostream>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "tools/client/client.h"
#include "tools/latentctl/answer_printer.h"

namespace latentd {
namespace {

constexpr int kBetweenDialsMs = 100;
constexpr double kLastLookSeconds = 1.0;

// The text of a token as something that fits on a line.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '\n' ? std::string("\\n") : std::string(1, c);
  return quoted + "\"";
}

// Why, as one more look shows: a daemon that has ended, one that still loads.
int ReportNotServing(Client& client, const std::string& service, double seconds) {
  grpc::ClientContext context;
  SetTimeout(kLastLookSeconds, context);
  bool serving = false;
  const grpc::Status now = client.CheckHealth(service, context, &serving);
  return Report({grpc::StatusCode::DEADLINE_EXCEEDED,
                 absl::StrFormat("not SERVING after %g s: %s", seconds,
                                 now.ok() ? "it answers NOT_SERVING" : now.error_message())});
}

}  // namespace

int Generate(const CommonOptions& options, const v1::GenerateRequest& request) {
  Client client(options.server, options.dialing);
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  NameTenant(options.tenant, context);
  AnswerPrinter printer(options);
  const auto reader = client.generation().Generate(&context, request);
  printer.Read(*reader);
  const int code = Report(reader->Finish());
  if (options.stats) printer.PrintStats();
  return code;
}

int Score(const CommonOptions& options, const v1::ScoreRequest& request) {
  Client client(options.server, options.dialing);
  grpc::ClientContext context;
  AcceptAnyAnswer(context);
  SetTimeout(options.timeout_seconds, context);
  NameTenant(options.tenant, context);
  v1::ScoreResult result;
  const grpc::Status status = client.generation().Score(&context, request, &result);
  if (!status.ok()) return Report(status);
  if (options.json) {
    std::cout << ToJson(result) << "\n";
    return 0;
  }
  double sum = 0.0;
  for (const v1::TokenLogprobs& position : result.positions()) {
    std::cout << absl::StrFormat("%8d %12.6f", position.token_id(), position.logprob());
    for (const v1::TopToken& top : position.top()) {
      std::cout << absl::StrFormat("   %d %.6f", top.token_id(), top.logprob());
    }
    std::cout << "\n";
    sum += position.logprob();
  }
  const int count = result.positions_size();
  std::cout << absl::StrFormat("sum %.6f over %d tokens, perplexity %.4f\n", sum, count, std::exp(-sum / count));
  return 0;
}

int Tokenize(const CommonOptions& options, const v1::TokenizeRequest& request) {
  Client client(options.server, options.dialing);
  grpc::ClientContext context;
  AcceptAnyAnswer(context);
  SetTimeout(options.timeout_seconds, context);
  v1::TokenizeResult result;
  const grpc::Status status = client.generation().Tokenize(&context, request, &result);
  if (!status.ok()) return Report(status);
  if (options.json) {
    std::cout << ToJson(result) << "\n";
    return 0;
  }
  for (int i = 0; i < result.token_ids_size(); ++i) {
    std::cout << absl::StrFormat("%8d  ", result.token_ids(i)) << Quoted(result.token_bytes(i)) << "\n";
  }
  return 0;
}

int Detokenize(const CommonOptions& options, const v1::DetokenizeRequest& request) {
  Client client(options.server, options.dialing);
  grpc::ClientContext context;
  AcceptAnyAnswer(context);
  SetTimeout(options.timeout_seconds, context);
  v1::DetokenizeResult result;
  const grpc::Status status = client.generation().Detokenize(&context, request, &result);
  if (!status.ok()) return Report(status);
  std::cout << (options.json ? ToJson(result) : result.text()) << "\n";
  return 0;
}

int ShowModel(const CommonOptions& options) {
  Client client(options.server, options.dialing);
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  v1::Model model;
  const grpc::Status status = client.models().GetModel(&context, {}, &model);
  if (!status.ok()) return Report(status);
  std::cout << (options.json ? ToJson(model) + "\n" : model.DebugString());
  return 0;
}

int CheckHealth(const CommonOptions& options, const std::string& service) {
  Client client(options.server, options.dialing);
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  bool serving = false;
  const grpc::Status status = client.CheckHealth(service, context, &serving);
  if (!status.ok()) return Report(status);
  std::cout << (serving ? "SERVING" : "NOT_SERVING") << "\n";
  return serving ? 0 : 1;
}

int AwaitServing(const CommonOptions& options, const std::string& service, double seconds) {
  grpc::ChannelArguments arguments;  // a daemon that is only about to listen is dialled again soon
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kBetweenDialsMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kBetweenDialsMs);
  Client client(options.server, options.dialing, arguments);
  const grpc::Status status = client.AwaitServing(service, seconds);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) return ReportNotServing(client, service, seconds);
  if (!status.ok()) return Report(status);
  std::cout << "SERVING\n";
  return 0;
}

}  // namespace latentd
