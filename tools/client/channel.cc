#include "tools/client/channel.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_interceptor.h>

#include "server/net/address.h"
#include "tools/client/proxy_rules.h"

namespace latentd {
namespace {

// In the spelling of most programs and in that of the others.
std::string NoProxyList() {
  std::string list;
  for (const char* name : {"no_proxy", "NO_PROXY", "no_grpc_proxy"}) {
    if (const char* value = std::getenv(name)) list.append(value).append(",");
  }
  return list;
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const Dialing& dialing) {
  if (dialing.tls_ca.empty() && dialing.tls_cert.empty() && dialing.tls_key.empty()) {
    return grpc::InsecureChannelCredentials();
  }
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = dialing.tls_ca;
  options.pem_private_key = dialing.tls_key;
  options.pem_cert_chain = dialing.tls_cert;
  return grpc::SslCredentials(options);
}

// Shows the token with each RPC of the channel: gRPC's own call credentials want TLS, also on loopback.
class TokenBearer final : public grpc::experimental::Interceptor {
 public:
  explicit TokenBearer(const std::string& token) : token_(token) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Hook = grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", "Bearer " + token_);
    }
    methods->Proceed();
  }

 private:
  const std::string& token_;
};

class TokenBearerFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenBearerFactory(std::string token) : token_(std::move(token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo*) override {
    return new TokenBearer(token_);
  }

 private:
  const std::string token_;
};

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& server, const Dialing& dialing,
                                           grpc::ChannelArguments arguments) {
  const absl::StatusOr<Address> address = ParseAddress(server, AddressUse::kGrpcClient);
  if (dialing.no_proxy || (address.ok() && GoesWithoutProxy(*address, NoProxyList()))) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  arguments.SetMaxReceiveMessageSize(-1);  // our tools take answers of any size
  using Factory = grpc::experimental::ClientInterceptorFactoryInterface;
  std::vector<std::unique_ptr<Factory>> interceptors;
  if (const std::string token = TokenOf(dialing); !token.empty()) {
    interceptors.push_back(std::make_unique<TokenBearerFactory>(token));
  }
  return grpc::experimental::CreateCustomChannelWithInterceptors(server, CredentialsOf(dialing), arguments,
                                                                 std::move(interceptors));
}

}  // namespace latentd
