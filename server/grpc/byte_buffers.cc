#include "server/grpc/byte_buffers.h"

#include <utility>

namespace latentd {

BufferPieces::BufferPieces(const grpc::ByteBuffer& buffer) {
  if (!buffer.Dump(&slices_).ok()) return;
  bytes_.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_)
    bytes_.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

grpc::ByteBuffer IntoBuffer(std::string bytes) {
  auto* owned = new std::string(std::move(bytes));
  const grpc::Slice slice(
      owned->data(), owned->size(), [](void* string) { delete static_cast<std::string*>(string); }, owned);
  return {&slice, 1};
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  const size_t num_bytes = message.ByteSizeLong();
  const grpc::Slice slice(num_bytes);
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));  // ours alone until it is in a buffer
  return {&slice, 1};
}

}  // namespace latentd
