// A gRPC channel to a daemon, as every command-line client opens it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>

namespace latentd {

enum class ProxyUse : uint8_t {
  kEnvironment,  // the one that grpc_proxy, https_proxy or http_proxy names, but where GoesWithoutProxy says so
  kNone,
};

inline constexpr char kNoProxyHelp[] =
    "Dials without a proxy, whatever https_proxy says; loopback, unix sockets and what NO_PROXY names never use one";
constexpr ProxyUse ProxyUseFor(bool no_proxy) { return no_proxy ? ProxyUse::kNone : ProxyUse::kEnvironment; }

// `server` is an address as ParseAddress takes it.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& server, ProxyUse proxy,
                                           grpc::ChannelArguments arguments = {});

}  // namespace latentd
