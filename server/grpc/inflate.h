// Requests that a client compressed with gzip, as gRPC's libraries do on wish. gRPC itself would unpack a message of
// 400 KB into 400 MB before its size could be checked; this stops at the bound.
#pragma once

#include <cstddef>
#include <cstdint>

#include <absl/status/status.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

namespace latentd {

// How the message that an RPC read last was compressed, by the flag before it and the RPC's headers.
enum class Packing : uint8_t {
  kNone,
  kGzip,
  kUnknown,  // in a way that was not said, or that gRPC does not know
};
Packing PackingOf(grpc::CallbackServerContext& context);

// Makes the message that an RPC read last what its client meant, in place. UNIMPLEMENTED where it is packed otherwise
// than in gzip, else as InflateGzip.
absl::Status UnpackMessage(grpc::CallbackServerContext& context, size_t max_bytes, grpc::ByteBuffer* message);

// Unpacks it in place. RESOURCE_EXHAUSTED where it has more than `max_bytes`, INVALID_ARGUMENT where it is no gzip.
absl::Status InflateGzip(size_t max_bytes, grpc::ByteBuffer* bytes);

}  // namespace latentd
