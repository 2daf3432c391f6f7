// Messages from their bytes on the wire. The services take raw bytes, so that a request that protobuf cannot
// parse is answered with INVALID_ARGUMENT naming the field instead of gRPC's own INTERNAL, and is counted as any other.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <google/protobuf/message.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/api/request_bounds.h"

namespace latentd {

// `message` is a request of the API: its lists are counted, and refused where they are too long, before it is parsed.
absl::Status ParseMessage(MessageBytes bytes, const ModelBounds& bounds, google::protobuf::Message* message);
// The ids, a megabyte of which is no rare request, get their memory once: a list that grows takes it three times over.
absl::Status ParseMessage(MessageBytes bytes, const ModelBounds& bounds, v1::DetokenizeRequest* message);
// For requests whose bounds do not depend on the model.
absl::Status ParseMessage(MessageBytes bytes, google::protobuf::Message* message);
// The message, or the status of any of these.
template <class Message>
absl::StatusOr<Message> ParseAs(MessageBytes bytes, const ModelBounds& bounds = {}) {
  Message message;
  if (absl::Status status = ParseMessage(bytes, bounds, &message); !status.ok()) return status;
  return message;
}

// Path of the first string field whose bytes are not UTF-8, for example "stopping.stop[1]"; empty if there is none.
std::string FindInvalidUtf8Field(std::string_view bytes, const google::protobuf::Descriptor& type);

}  // namespace latentd
