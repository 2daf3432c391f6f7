#include "server/grpc/byte_buffers.h"

namespace latentd {

BufferPieces::BufferPieces(const grpc::ByteBuffer& buffer) {
  if (!buffer.Dump(&slices_).ok()) return;
  bytes_.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_)
    bytes_.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  const size_t num_bytes = message.ByteSizeLong();
  const grpc::Slice slice(num_bytes);
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));  // ours alone until it is in a buffer
  return {&slice, 1};
}

}  // namespace latentd
