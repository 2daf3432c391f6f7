// latentctl chat: one Chat RPC per turn, with all turns before it.
#include <iostream>
#include <string>

#include "tools/client/client.h"
#include "tools/client/interrupt.h"
#include "tools/latentctl/answer_printer.h"
#include "tools/latentctl/commands.h"

namespace latentd {
namespace {

void AddMessage(const std::string& role, const std::string& content, v1::ChatRequest& request) {
  v1::ChatMessage* message = request.add_messages();
  message->set_role(role);
  message->set_content(content);
}

// The printed part of a cancelled answer stays in the history: the user saw it.
grpc::Status Answer(const CommonOptions& options, Client& client, Interrupt& interrupt, v1::ChatRequest& request) {
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  NameTenant(options.tenant, context);
  const Interrupt::Guard guard(interrupt, [&context] { context.TryCancel(); });
  AnswerPrinter printer(options);
  const auto reader = client.generation().Chat(&context, request);
  printer.Read(*reader);
  const grpc::Status status = reader->Finish();
  if (options.stats) printer.PrintStats();
  AddMessage("assistant", printer.text(), request);
  return status;
}

}  // namespace

int Converse(const CommonOptions& options, v1::ChatRequest request) {
  Interrupt interrupt;
  Client client(options.server, options.dialing);
  std::string line;
  const auto prompt = [] { std::cerr << "> " << std::flush; };
  for (prompt(); std::getline(std::cin, line); prompt()) {
    if (line.empty()) continue;
    AddMessage("user", line, request);
    const grpc::Status status = Answer(options, client, interrupt, request);
    if (!status.ok() && status.error_code() != grpc::StatusCode::CANCELLED) return Report(status);
  }
  std::cerr << "\n";
  return 0;
}

}  // namespace latentd
