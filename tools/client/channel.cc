#include "tools/client/channel.h"

#include <cstdlib>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

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

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& server, ProxyUse proxy,
                                           grpc::ChannelArguments arguments) {
  const absl::StatusOr<Address> address = ParseAddress(server, AddressUse::kGrpcClient);
  if (proxy == ProxyUse::kNone || (address.ok() && GoesWithoutProxy(*address, NoProxyList()))) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  arguments.SetMaxReceiveMessageSize(-1);  // our tools take answers of any size
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace latentd
