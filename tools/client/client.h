// The connection to a daemon, and how its failures are told: one line with the status, its reason and its message.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "latentd/v1/generation.grpc.pb.h"
#include "latentd/v1/models.grpc.pb.h"
#include "tools/client/channel.h"

namespace latentd {

class Client {
 public:
  Client(const std::string& server, const Dialing& dialing, const grpc::ChannelArguments& arguments = {});

  v1::Generation::Stub& generation() { return *generation_; }
  v1::Models::Stub& models() { return *models_; }
  // Until the service serves, for so many seconds at most: also before a daemon listens, while one goes and another
  // comes, and while one is too full to be asked. OK then.
  grpc::Status AwaitServing(const std::string& service, double seconds);
  // grpc.health.v1.Health/Check; `serving` is set where the status is OK.
  grpc::Status CheckHealth(const std::string& service, grpc::ClientContext& context, bool* serving);

 private:
  // grpc.health.v1.Health/Watch until the service serves; OK then, and never else. `context` is over.
  grpc::Status Watch(const std::string& service, grpc::ClientContext& context);

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Generation::Stub> generation_;
  const std::unique_ptr<v1::Models::Stub> models_;
};

// Tells the server that this client takes answers of any size.
void AcceptAnyAnswer(grpc::ClientContext& context);

// For whom the request counts; nothing is said where it is empty.
void NameTenant(const std::string& tenant, grpc::ClientContext& context);

// No deadline where `seconds` is 0.
void SetTimeout(double seconds, grpc::ClientContext& context);

// From the google.rpc.Status in grpc-status-details-bin; empty where there is none.
std::string ReasonOf(const grpc::Status& status);

// Prints to stderr and returns the exit code: 0 for OK, 1 for everything else.
int Report(const grpc::Status& status);

}  // namespace latentd
