#include "server/grpc/byte_buffers.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/status.h"

namespace latentd {
namespace {

std::string Joined(const BufferPieces& pieces) {
  std::string joined;
  for (const std::string_view piece : pieces.bytes()) joined += piece;
  return joined;
}

TEST(BufferPieces, BufferWithoutAMessageIsNoEmptyMessage) {
  const absl::StatusOr<BufferPieces> none = BufferPieces::Of(grpc::ByteBuffer());
  EXPECT_EQ(ReasonOf(none.status()), "INVALID_FIELD");
  const grpc::Slice empty("");
  const absl::StatusOr<BufferPieces> pieces = BufferPieces::Of(grpc::ByteBuffer(&empty, 1));
  ASSERT_TRUE(pieces.ok());
  EXPECT_EQ(Joined(*pieces), "");
}

TEST(BufferPieces, StayWhereTheyAreWhenTheyAreHandedOn) {
  const grpc::Slice slices[] = {grpc::Slice("ab"), grpc::Slice(std::string(100, 'c'))};
  absl::StatusOr<BufferPieces> pieces = BufferPieces::Of(grpc::ByteBuffer(slices, 2));
  ASSERT_TRUE(pieces.ok());
  const char* first = pieces->bytes().front().data();
  const BufferPieces moved = *std::move(pieces);
  EXPECT_EQ(moved.bytes().front().data(), first);
  EXPECT_EQ(Joined(moved), "ab" + std::string(100, 'c'));
}

TEST(ByteBuffers, MessagesAreTheirBytes) {
  v1::GenerateRequest message;
  message.set_request_id("id");
  const absl::StatusOr<BufferPieces> pieces = BufferPieces::Of(SerializeMessage(message));
  ASSERT_TRUE(pieces.ok());
  EXPECT_EQ(Joined(*pieces), message.SerializeAsString());
}

}  // namespace
}  // namespace latentd
