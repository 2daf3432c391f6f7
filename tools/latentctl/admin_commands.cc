#include "tools/latentctl/admin_commands.h"

#include <chrono>
#include <iostream>

#include <absl/strings/str_format.h>
#include <grpcpp/grpcpp.h>

#include "tools/client/channel.h"
#include "tools/client/client.h"
#include "tools/latentctl/answer_printer.h"
#include "tools/latentctl/load_view.h"

namespace latentd {
namespace {

constexpr char kGeneration[] = "latentd.v1.Generation";
constexpr int kAllColumns = 128;  // as long as a request id can be

// After its last report the daemon has only its own things to close.
constexpr std::chrono::seconds kLastMoments{10};

void Print(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::cout << line << "\n";
}

std::string ModelLine(const v1::Model& model) {
  return absl::StrFormat("model        %s, %s, %s, context %d", model.name(), model.architecture(),
                         model.quantization(), model.limits().max_context_tokens());
}

std::string ProgressLine(const v1::DrainProgress& progress) {
  const double left = static_cast<double>(progress.remaining().seconds()) + progress.remaining().nanos() * 1e-9;
  return absl::StrFormat("%d in flight, %.1f s left", progress.requests_in_flight(), left);
}

bool AwaitGone(grpc::Channel& channel) {
  const auto deadline = std::chrono::system_clock::now() + kLastMoments;
  return channel.GetState(false) != GRPC_CHANNEL_READY || channel.WaitForStateChange(GRPC_CHANNEL_READY, deadline);
}

}  // namespace

AdminConnection::AdminConnection(const AdminOptions& options)
    : channel(OpenChannel(options.admin, options.dialing)), admin(v1::Admin::NewStub(channel)) {}

int ShowStatus(const AdminOptions& options) {
  const AdminConnection connection(options);
  Client client(options.admin, options.dialing);
  grpc::ClientContext of_load, of_model, of_health;
  for (grpc::ClientContext* context : {&of_load, &of_model, &of_health}) SetTimeout(options.timeout_seconds, *context);
  v1::Load load;
  if (const auto status = connection.admin->GetLoad(&of_load, {}, &load); !status.ok()) return Report(status);
  v1::Model model;  // stays empty while it loads
  if (!load.has_loading()) {
    if (const auto status = client.models().GetModel(&of_model, {}, &model); !status.ok()) return Report(status);
  }
  bool serving = false;
  if (const auto status = client.CheckHealth(kGeneration, of_health, &serving); !status.ok()) return Report(status);
  if (options.json) {
    std::cout << absl::StrFormat("{\"serving\":%s,\"load\":%s,\"model\":%s}\n", serving ? "true" : "false",
                                 ToJson(load), ToJson(model));
  } else {
    const char* why = load.draining() ? " (draining)" : load.has_loading() ? " (loading)" : "";
    std::cout << "health       " << (serving ? "SERVING" : "NOT_SERVING") << (serving ? "" : why) << "\n"
              << (load.has_loading() ? "loading      " + LoadingText(load.loading()) : ModelLine(model)) << "\n";
    Print(LoadLines(load));
  }
  return serving ? 0 : 1;
}

int ListRequests(const AdminOptions& options) {
  const AdminConnection connection(options);
  grpc::ClientContext context;
  AcceptAnyAnswer(context);
  SetTimeout(options.timeout_seconds, context);
  v1::ListRequestsResult list;
  const grpc::Status status = connection.admin->ListRequests(&context, {}, &list);
  if (!status.ok()) return Report(status);
  if (options.json) {
    for (const v1::LiveRequest& request : list.requests()) std::cout << ToJson(request) << "\n";
  } else {
    Print(RequestLines(list, kAllColumns));
  }
  return 0;
}

int Abort(const AdminOptions& options, const AbortChoice& choice) {
  const AdminConnection connection(options);
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  v1::AbortRequest request;
  for (const std::string& id : choice.ids) request.add_request_ids(id);
  if (choice.all) request.set_all(true);
  v1::AbortResult result;
  const grpc::Status status = connection.admin->Abort(&context, request, &result);
  if (!status.ok()) return Report(status);
  for (const v1::AbortResult::Entry& entry : result.entries()) {
    const bool is_aborted = entry.outcome() == v1::AbortResult::OUTCOME_ABORTED;
    std::cout << (options.json ? ToJson(entry) : entry.request_id() + (is_aborted ? " aborted" : " not found")) << "\n";
  }
  return 0;
}

int FlushCache(const AdminOptions& options) {
  const AdminConnection connection(options);
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  v1::FlushPrefixCacheResult result;
  const grpc::Status status = connection.admin->FlushPrefixCache(&context, {}, &result);
  if (!status.ok()) return Report(status);
  if (options.json) {
    std::cout << ToJson(result) << "\n";
  } else {
    std::cout << result.blocks_freed() << " blocks freed\n";
  }
  return 0;
}

int Drain(const AdminOptions& options, std::optional<double> seconds) {
  const AdminConnection connection(options);
  v1::DrainRequest request;
  if (seconds) {
    const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(*seconds));
    request.mutable_timeout()->set_seconds(nanos.count() / 1'000'000'000);
    request.mutable_timeout()->set_nanos(static_cast<int32_t>(nanos.count() % 1'000'000'000));
  }
  grpc::ClientContext context;
  const auto reader = connection.admin->Drain(&context, request);
  v1::DrainProgress progress;
  while (reader->Read(&progress)) {
    std::cout << (options.json ? ToJson(progress) : ProgressLine(progress)) << std::endl;
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return Report(status);
  if (!AwaitGone(*connection.channel)) {
    std::cerr << "latentctl: drained, but the daemon still answers after " << kLastMoments.count() << " s\n";
    return 1;
  }
  if (!options.json) std::cout << "drained\n";
  return 0;
}

}  // namespace latentd
