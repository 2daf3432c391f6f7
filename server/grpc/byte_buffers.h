// Messages as gRPC keeps them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "server/api/message_bytes.h"

namespace latentd {

// A buffer's bytes for the rooms that do not know gRPC. Shares them with the buffer.
class BufferPieces {
 public:
  explicit BufferPieces(const grpc::ByteBuffer& buffer);

  MessageBytes bytes() const { return bytes_; }

 private:
  std::vector<grpc::Slice> slices_;
  std::vector<std::string_view> bytes_;
};

// Takes the bytes over; a copy of a large answer would not be counted anywhere.
grpc::ByteBuffer IntoBuffer(std::string bytes);
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace latentd
