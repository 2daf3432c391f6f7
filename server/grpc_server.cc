#include "server/grpc_server.h"

#include <chrono>
#include <utility>

#include <absl/strings/str_format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

namespace latentd {
namespace {

constexpr int kMaxStreamsPerConnection = 1024;
constexpr int kKeepaliveMs = 20'000;        // a client that vanished without a word is noticed after so long …
constexpr int kKeepaliveTimeoutMs = 5'000;  // … and so long again

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(-1);  // gRPC looks when it has all of it; Rpc does so, too, and says more
  // Rpc unpacks gzip itself, see server/inflate.h; of what else gRPC knows a client is told that it is not taken.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // or what an RPC may hold unread grows beyond 64 KiB
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // or two daemons would share a port in silence
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Endpoint& endpoint) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(endpoint.listen, grpc::InsecureServerCredentials(), &port);
  SetLimits(builder);
  for (grpc::Service* service : endpoint.services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrFormat("expected a free HOST:PORT, found %s: address already in use or not of this machine; choose "
                        "another with %s",
                        endpoint.listen, endpoint.flag));
  }
  std::vector<std::string> names = {""};
  names.insert(names.end(), endpoint.health_names.begin(), endpoint.health_names.end());
  const std::string host = endpoint.listen.substr(0, endpoint.listen.rfind(':'));
  const std::string address = absl::StrFormat("%s:%d", host, port);
  std::unique_ptr<GrpcServer> started(new GrpcServer(std::move(server), address, std::move(names)));
  started->server_->GetHealthCheckService()->SetServingStatus("latentd.liveness", true);
  started->SetHealth(endpoint.health);
  return started;
}

GrpcServer::GrpcServer(std::unique_ptr<grpc::Server> server, std::string address,
                       std::vector<std::string> service_names)
    : server_(std::move(server)), address_(std::move(address)), service_names_(std::move(service_names)) {}

GrpcServer::~GrpcServer() = default;

void GrpcServer::SetHealth(Health health) {
  std::lock_guard lock(health_mutex_);
  if (is_draining_) return;
  is_draining_ = health == Health::kDraining;
  grpc::HealthCheckServiceInterface* service = server_->GetHealthCheckService();
  for (const std::string& name : service_names_) service->SetServingStatus(name, health == Health::kServing);
}

void GrpcServer::SetHealthOf(const std::string& name, Health health) {
  std::lock_guard lock(health_mutex_);
  if (is_draining_) return;
  server_->GetHealthCheckService()->SetServingStatus(name, health == Health::kServing);
}

void GrpcServer::Shutdown(TimePoint deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
}

}  // namespace latentd
