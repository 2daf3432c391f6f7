#include "server/grpc/grpc_status.h"

#include <chrono>
#include <optional>
#include <string>

#include <absl/strings/cord.h>
#include <google/protobuf/any.pb.h>

#include "google/rpc/status.pb.h"
#include "server/api/status.h"

namespace latentd {

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  status.ForEachPayload([&details](absl::string_view type_url, const absl::Cord& payload) {
    google::protobuf::Any* detail = details.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(payload));
  });
  return {static_cast<grpc::StatusCode>(status.code()), details.message(), details.SerializeAsString()};
}

grpc::Status ToGrpcStatus(const absl::Status& status, grpc::CallbackServerContext& context) {
  if (const std::optional<std::chrono::milliseconds> delay = RetryDelayOf(status)) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(delay->count()));
  }
  return ToGrpcStatus(status);
}

}  // namespace latentd
