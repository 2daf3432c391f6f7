// A gRPC channel to a daemon, as every command-line client opens it.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>

#include "tools/client/dialing.h"

namespace latentd {

// `server` is an address as ParseAddress takes it. Without --no-proxy it goes through the proxy that grpc_proxy,
// https_proxy or http_proxy names, but where GoesWithoutProxy says so.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& server, const Dialing& dialing,
                                           grpc::ChannelArguments arguments = {});

}  // namespace latentd
