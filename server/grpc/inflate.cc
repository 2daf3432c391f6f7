#include "server/grpc/inflate.h"

#include <algorithm>
#include <vector>

#include <grpc/compression.h>
#include <grpcpp/support/slice.h>
#include <zlib.h>

#include "base/check.h"
#include "server/api/status.h"

// gRPC's library has these for its own tests; of what a peer said of a message nothing else is left where gRPC is not
// to unpack it. A message that is said to be compressed, and is not in a way that gRPC knows, would be taken as it is.
uint32_t grpc_call_test_only_get_message_flags(grpc_call* call);
grpc_compression_algorithm grpc_call_test_only_get_compression_algorithm(grpc_call* call);

namespace latentd {
namespace {

constexpr uint32_t kIsCompressed = 0x80000000u;  // among a message's flags

constexpr int kGzipOnly = 16 + MAX_WBITS;  // how zlib wants to be told
constexpr size_t kChunkBytes = 64 << 10;

class Inflater {
 public:
  Inflater() { CHECK_EQ(inflateInit2(&stream_, kGzipOnly), Z_OK); }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Appends what `input` unpacks to, until there is more than `max_bytes` in all; false for bytes that are wrong.
  bool Append(const grpc::Slice& input, size_t max_bytes, std::vector<grpc::Slice>* output) {
    stream_.next_in = const_cast<uint8_t*>(input.begin());  // zlib only reads it
    stream_.avail_in = static_cast<uInt>(input.size());
    while (stream_.avail_in > 0 && stream_.total_out <= max_bytes) {
      if (is_complete_) return false;
      stream_.next_out = chunk_.data();
      stream_.avail_out = static_cast<uInt>(chunk_.size());
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) return false;
      const size_t made = chunk_.size() - stream_.avail_out;
      if (made > 0) output->emplace_back(chunk_.data(), made);
      is_complete_ = result == Z_STREAM_END;
      if (made == 0 && !is_complete_) break;
    }
    return true;
  }

  bool is_complete() const { return is_complete_; }
  size_t num_bytes() const { return stream_.total_out; }

 private:
  z_stream stream_{};
  bool is_complete_ = false;
  std::vector<uint8_t> chunk_ = std::vector<uint8_t>(kChunkBytes);
};

std::vector<grpc::Slice> SlicesOf(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  return bytes.Dump(&slices).ok() ? slices : std::vector<grpc::Slice>();
}

}  // namespace

Packing PackingOf(grpc::CallbackServerContext& context) {
  if ((grpc_call_test_only_get_message_flags(context.c_call()) & kIsCompressed) == 0) return Packing::kNone;
  const bool is_gzip = grpc_call_test_only_get_compression_algorithm(context.c_call()) == GRPC_COMPRESS_GZIP;
  return is_gzip ? Packing::kGzip : Packing::kUnknown;
}

absl::Status UnpackMessage(grpc::CallbackServerContext& context, size_t max_bytes, grpc::ByteBuffer* message) {
  if (message->Length() > max_bytes) return MessageTooLarge(message->Length(), max_bytes);
  switch (PackingOf(context)) {
    case Packing::kNone:
      return absl::OkStatus();
    case Packing::kGzip:
      return InflateGzip(max_bytes, message);
    case Packing::kUnknown:
      break;
  }
  return UnsupportedField("grpc-encoding", "expected identity or gzip, found a message compressed otherwise");
}

absl::Status InflateGzip(size_t max_bytes, grpc::ByteBuffer* bytes) {
  Inflater inflater;
  std::vector<grpc::Slice> output;
  for (const grpc::Slice& slice : SlicesOf(*bytes)) {
    if (!inflater.Append(slice, max_bytes, &output)) {
      return InvalidField("", "expected a message in gzip, found bytes that are none");
    }
    if (inflater.num_bytes() > max_bytes) return MessageTooLarge(inflater.num_bytes(), max_bytes);
  }
  if (!inflater.is_complete()) return InvalidField("", "expected a message in gzip, found a part of one");
  *bytes = grpc::ByteBuffer(output.data(), output.size());
  return absl::OkStatus();
}

}  // namespace latentd
