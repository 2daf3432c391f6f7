#include "server/grpc/byte_buffers.h"

#include <utility>

#include "server/api/status.h"

namespace latentd {

absl::StatusOr<BufferPieces> BufferPieces::Of(const grpc::ByteBuffer& buffer) {
  BufferPieces pieces;
  if (!buffer.Dump(&pieces.slices_).ok()) return InvalidField("", "expected one whole message, found none");
  pieces.bytes_.reserve(pieces.slices_.size());
  for (const grpc::Slice& slice : pieces.slices_) {
    pieces.bytes_.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return pieces;
}

grpc::ByteBuffer IntoBuffer(std::string bytes) {
  auto* owned = new std::string(std::move(bytes));
  const grpc::Slice slice(
      owned->data(), owned->size(), [](void* string) { delete static_cast<std::string*>(string); }, owned);
  return {&slice, 1};
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  return IntoBuffer(message.SerializeAsString());
}

}  // namespace latentd
