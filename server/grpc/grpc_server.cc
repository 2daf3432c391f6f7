#include "server/grpc/grpc_server.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "base/now.h"
#include "server/grpc/reflection_service.h"
#include "server/net/address.h"
#include "server/net/frame_guard.h"
#include "server/net/listening_socket.h"

namespace latentd {
namespace {

constexpr int kMaxStreamsPerConnection = 1024;
static_assert(size_t{kMaxStreamsPerConnection} <= FrameGuard::kMaxUploads);
// A connection that says nothing has so long to begin with HTTP/2.
constexpr int kHandshakeMs = 10'000;
// A client that vanished without a word is noticed after so long, and then as long as two slow readers get and these
// moments more: one that stands still for a while, or does not read, answers no ping either.
constexpr int kKeepaliveMs = 20'000;
constexpr double kKeepaliveMomentsSeconds = 5.0;
constexpr double kMaxKeepaliveSeconds = 1e6;  // fits in an int of milliseconds
// Clients may ping an idle connection at any interval that they are known to choose; a flood is cut off by FrameGuard.
constexpr int kMinPingIntervalMs = 1'000;

// At least, for what ends by itself; twice as much for gRPC to see that a connection is closed.
constexpr std::chrono::milliseconds kLastBytes{50};

void SetLimits(const GrpcServer::Endpoint& endpoint, grpc::ServerBuilder& builder) {
  const double keepalive_timeout =
      std::min(2.0 * endpoint.slow_consumer_seconds + kKeepaliveMomentsSeconds, kMaxKeepaliveSeconds);
  builder.SetMaxReceiveMessageSize(-1);  // gRPC looks when it has all of it; Rpc does so, too, and says more
  // Rpc unpacks gzip itself, see server/grpc/inflate.h; of what else gRPC knows a client is told that it is not taken.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // or what an RPC may hold unread grows beyond 64 KiB
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(keepalive_timeout * 1e3));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
}

// gRPC looks for other certificates so often.
constexpr unsigned kCertificateSeconds = 1;

// TLS 1.2 or 1.3, by gRPC's default. Connections that there are keep what they began with.
std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const Certificates* certificates) {
  if (certificates == nullptr) return grpc::InsecureServerCredentials();
  namespace tls = grpc::experimental;
  tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
      certificates->pair_path(), certificates->pair_path(), certificates->client_ca_path(), kCertificateSeconds));
  options.watch_identity_key_cert_pairs();
  if (!certificates->client_ca_path().empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return tls::TlsServerCredentials(options);
}

using GrpcAcceptor = grpc::experimental::ExternalConnectionAcceptor;

void HandOver(GrpcAcceptor& acceptor, int descriptor) {
  GrpcAcceptor::NewConnectionParameters connection;
  connection.fd = descriptor;
  acceptor.HandleNewConnection(&connection);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Endpoint& endpoint) {
  const absl::StatusOr<Address> address = ParseAddress(endpoint.listen, AddressUse::kGrpcListener);
  if (!address.ok()) return address.status();
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(*address, endpoint.flag);
  if (!socket.ok()) return socket.status();
  const Certificates* certificates = socket->address().kind == Address::Kind::kUnix ? nullptr : endpoint.certificates;
  std::unique_ptr<GrpcServer> started(new GrpcServer(endpoint));
  grpc::ServerBuilder builder;
  const std::shared_ptr<GrpcAcceptor> connections = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, CredentialsOf(certificates));
  SetLimits(endpoint, builder);
  for (grpc::Service* service : endpoint.services) builder.RegisterService(service);
  builder.RegisterService(&started->health_service_);
  for (const auto& service : started->reflection_) builder.RegisterService(service.get());
  started->server_ = builder.BuildAndStart();
  if (started->server_ == nullptr) {
    return absl::InternalError("expected gRPC's server to start, found that it does not");
  }
  absl::StatusOr<std::unique_ptr<Acceptor>> acceptor = Acceptor::Start(
      *std::move(socket),
      {.listening = {endpoint.kind, certificates == nullptr ? Framing::kHttp2 : Framing::kTls},
       .limits = endpoint.limits,
       .hand_over = [connections](int descriptor) { HandOver(*connections, descriptor); },
       .on_change = [&state = endpoint.state, kind = endpoint.kind](
                        bool can_accept) { can_accept ? state.SetHearing(kind) : state.SetDeaf(kind); }});
  if (!acceptor.ok()) {
    started->server_->Shutdown();
    return acceptor.status();
  }
  started->acceptor_ = *std::move(acceptor);
  return started;
}

GrpcServer::GrpcServer(const Endpoint& endpoint) : state_(endpoint.state), kind_(endpoint.kind) {
  std::vector<std::string> reflected = endpoint.service_names;
  reflected.emplace_back("grpc.health.v1.Health");
  reflection_ = MakeReflectionServices(
      std::move(reflected),
      {endpoint.authority, kind_ == ListenerKind::kApi ? AccessPoint::kApi : AccessPoint::kAdmin});
  health_service_.Set("latentd.liveness", HealthService::Response::SERVING);
  state_.Observe(this, [this, names = endpoint.health](const ServingState::View& view) {
    using Response = HealthService::Response;
    for (const HealthName& each : names) {
      health_service_.Set(each.name, each.is_serving(view) ? Response::SERVING : Response::NOT_SERVING);
    }
  });
}

GrpcServer::~GrpcServer() { state_.Forget(this); }

void GrpcServer::Shutdown(TimePoint deadline) {
  acceptor_->Stop();
  health_service_.End();
  // gRPC would cancel what is left, but waits for bytes that it has begun to write, however long a client reads none:
  // it loses its sockets first.
  const TimePoint close_at = std::max(deadline, Now() + kLastBytes);
  std::promise<void> is_over;
  std::thread closer([this, close_at, over = is_over.get_future()] {
    if (over.wait_until(close_at) == std::future_status::timeout) ConnectionTable::OfProcess().ShutDownAll(kind_);
  });
  const Duration left = close_at + 2 * kLastBytes - Now();
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
  is_over.set_value();
  closer.join();
}

}  // namespace latentd
