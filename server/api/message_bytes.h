// The bytes of one message, in as many pieces as they came in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <google/protobuf/io/zero_copy_stream.h>

namespace latentd {

using MessageBytes = std::span<const std::string_view>;

// Gives protobuf's parsers the pieces one by one. They must outlive it.
class MessageReader final : public google::protobuf::io::ZeroCopyInputStream {
 public:
  explicit MessageReader(MessageBytes bytes) : bytes_(bytes) {}

  bool Next(const void** data, int* size) override;
  void BackUp(int count) override;
  bool Skip(int count) override;
  int64_t ByteCount() const override { return num_read_; }

 private:
  const MessageBytes bytes_;
  size_t next_ = 0;      // of the pieces
  size_t returned_ = 0;  // at the end of the piece before, to be given once more
  int64_t num_read_ = 0;
};

}  // namespace latentd
