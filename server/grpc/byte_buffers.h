// Messages as gRPC keeps them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>
#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "server/api/message_bytes.h"

namespace latentd {

// A buffer's bytes for the rooms that do not know gRPC. Shares them with the buffer. A short slice holds its bytes
// itself, so a copy's pieces would be the original's; those of one that moved stay, with the slices they are in.
class BufferPieces {
 public:
  // INVALID_ARGUMENT for a buffer that gRPC left without a message, which is other than an empty one.
  static absl::StatusOr<BufferPieces> Of(const grpc::ByteBuffer& buffer);

  BufferPieces(BufferPieces&&) = default;
  BufferPieces& operator=(BufferPieces&&) = default;

  MessageBytes bytes() const { return bytes_; }

 private:
  BufferPieces() = default;

  std::vector<grpc::Slice> slices_;
  std::vector<std::string_view> bytes_;
};

// Takes the bytes over; a copy of a large answer would not be counted anywhere.
grpc::ByteBuffer IntoBuffer(std::string bytes);
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace latentd
