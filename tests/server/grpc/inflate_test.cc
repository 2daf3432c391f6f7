#include "server/grpc/inflate.h"

#include <string>
#include <vector>

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace latentd {
namespace {

constexpr int kGzip = 16 + MAX_WBITS;

std::string Gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

grpc::ByteBuffer InPieces(const std::string& bytes, size_t piece_bytes) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece_bytes) slices.emplace_back(bytes.substr(at, piece_bytes));
  return {slices.data(), slices.size()};
}

std::string TextOf(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  EXPECT_TRUE(bytes.DumpToSingleSlice(&slice).ok());
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

bool BeginsAsGzip(const std::string& bytes) { return bytes.starts_with("\x1f\x8b"); }

TEST(Inflate, GivesBackWhatWasPackedHoweverItIsCut) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += std::to_string(i);
  for (const size_t piece_bytes : {size_t{1}, size_t{7}, size_t{1} << 20}) {
    const std::string packed = Gzip(text);
    ASSERT_TRUE(BeginsAsGzip(packed));
    grpc::ByteBuffer bytes = InPieces(packed, piece_bytes);
    ASSERT_TRUE(InflateGzip(text.size(), &bytes).ok());
    EXPECT_EQ(TextOf(bytes), text);
  }
}

TEST(Inflate, StopsAtTheBound) {
  const std::string packed = Gzip(std::string(64 << 20, 'a'));
  ASSERT_LT(packed.size(), 100'000u);
  grpc::ByteBuffer bytes = InPieces(packed, 4096);
  const absl::Status status = InflateGzip(1 << 20, &bytes);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(TextOf(bytes), packed) << "and leaves the message as it was";
}

TEST(Inflate, RefusesWhatIsNoGzipOrNotAllOfIt) {
  const std::string packed = Gzip("Once upon a time there was a king.");
  std::string damaged = packed;
  damaged[damaged.size() - 5] ^= 1;
  for (const std::string& bad : {packed.substr(0, packed.size() - 1), packed.substr(0, 2), packed + "x", damaged,
                                 packed.substr(0, 2) + std::string(30, '\xff')}) {
    ASSERT_TRUE(BeginsAsGzip(bad));
    grpc::ByteBuffer bytes = InPieces(bad, 1 << 20);
    EXPECT_TRUE(absl::IsInvalidArgument(InflateGzip(1 << 20, &bytes)));
  }
}

TEST(Inflate, ProtobufIsNoGzip) {
  for (const std::string& text : {std::string(), std::string("\x1f"),
                                  std::string("\x0a\x03"
                                              "abc"),
                                  std::string("\x8b\x1f")}) {
    grpc::ByteBuffer bytes = InPieces(text, 1);
    EXPECT_TRUE(absl::IsInvalidArgument(InflateGzip(1 << 20, &bytes)));
  }
}

}  // namespace
}  // namespace latentd
