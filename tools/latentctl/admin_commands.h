// latentctl's commands for operators, over the Admin service, one function per subcommand. Each returns the exit code.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "latentd/v1/admin.grpc.pb.h"
#include "tools/client/dialing.h"

namespace latentd {

struct AdminOptions {
  std::string admin = "127.0.0.1:50052";
  double timeout_seconds = 10.0;  // of each RPC but those that stream; 0: none
  bool json = false;              // messages as JSON, one per line
  Dialing dialing = {};
};

struct AbortChoice {
  std::vector<std::string> ids;
  bool all = false;
};

// Load, model and health on one screen; 1 where the daemon is not serving.
int ShowStatus(const AdminOptions& options);
int ListRequests(const AdminOptions& options);
int Abort(const AdminOptions& options, const AbortChoice& choice);
// How many blocks of the prefix cache it freed.
int FlushCache(const AdminOptions& options);
// Progress until the daemon is gone; requests in flight get `seconds`, or else as long as the daemon is set to give.
int Drain(const AdminOptions& options, std::optional<double> seconds);

// The connection to the admin address.
struct AdminConnection {
  explicit AdminConnection(const AdminOptions& options);

  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::Admin::Stub> admin;
};

}  // namespace latentd
