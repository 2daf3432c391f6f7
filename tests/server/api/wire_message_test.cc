#include "server/api/wire_message.h"

#include <string>

#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/status.h"
#include "tests/server/api/request_bytes.h"

namespace latentd {
namespace {

constexpr char kBad[] = "\xff\xfe";

// As transports hand messages over: whole, or cut anywhere.
constexpr size_t kPieceBytes[] = {kWhole, 1, 7};

// The bytes of a message whose text is `good`, with one good text replaced by bytes that are not UTF-8.
std::string Broken(const google::protobuf::Message& message, const std::string& good) {
  std::string bytes = message.SerializeAsString();
  return bytes.replace(bytes.find(good), good.size(), std::string(kBad) + std::string(good.size() - 2, 'x'));
}

TEST(WireMessage, GoodBytesParse) {
  v1::GenerateRequest sent, received;
  sent.set_text("naïve");
  for (const size_t piece_bytes : kPieceBytes) {
    ASSERT_TRUE(ParseMessage(PiecesOf(sent.SerializeAsString(), piece_bytes), &received).ok()) << piece_bytes;
    EXPECT_EQ(received.text(), "naïve");
  }
}

TEST(WireMessage, BadUtf8NamesTheFieldWhereverItIs) {
  v1::GenerateRequest message;
  message.set_text("prompt");
  message.mutable_stopping()->add_stop("first");
  message.mutable_stopping()->add_stop("second");
  message.mutable_constraint()->mutable_choice()->add_texts("choice");
  const auto& type = *v1::GenerateRequest::descriptor();
  EXPECT_EQ(FindInvalidUtf8Field(message.SerializeAsString(), type), "");
  EXPECT_EQ(FindInvalidUtf8Field(Broken(message, "prompt"), type), "text");
  EXPECT_EQ(FindInvalidUtf8Field(Broken(message, "second"), type), "stopping.stop[1]");
  EXPECT_EQ(FindInvalidUtf8Field(Broken(message, "choice"), type), "constraint.choice.texts[0]");
}

TEST(WireMessage, BadUtf8IsInvalidArgument) {
  v1::ChatRequest message;
  message.add_messages()->set_content("hello");
  v1::ChatRequest received;
  for (const size_t piece_bytes : kPieceBytes) {
    const absl::Status status = ParseMessage(PiecesOf(Broken(message, "hello"), piece_bytes), &received);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << piece_bytes;
    EXPECT_EQ(status.message(), "messages[0].content: expected valid UTF-8") << piece_bytes;
  }
}

TEST(WireMessage, EveryTruncationIsRefusedOrParsed) {
  v1::GenerateRequest message;
  message.set_text("prompt");
  message.mutable_sampling()->set_temperature(0.5f);
  (*message.mutable_sampling()->mutable_logit_bias())[7] = 1.0f;
  message.mutable_stopping()->add_stop("stop");
  const std::string bytes = message.SerializeAsString();
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    v1::GenerateRequest received;
    const absl::Status status = ParseMessage(BufferOf(bytes.substr(0, size)), &received);
    if (status.ok()) continue;
    ++refused;
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD") << size;
  }
  EXPECT_GT(refused, 10);
}

TEST(WireMessage, PiecesParseAsTheWholeHoweverItIsCutShort) {
  v1::GenerateRequest message;
  message.mutable_token_ids()->add_ids(70'000);
  message.mutable_sampling()->set_temperature(0.5f);
  message.mutable_stopping()->add_stop("a stop string over several pieces");
  message.set_request_id("id");
  const std::string bytes = message.SerializeAsString();
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const std::string part = bytes.substr(0, size);
    v1::GenerateRequest whole;
    const absl::Status expected = ParseMessage(BufferOf(part), &whole);
    for (const size_t piece_bytes : {size_t{1}, size_t{7}}) {
      v1::GenerateRequest received;
      EXPECT_EQ(ParseMessage(PiecesOf(part, piece_bytes), &received), expected) << size << " in " << piece_bytes;
      if (expected.ok()) {
        EXPECT_EQ(received.SerializeAsString(), part) << size << " in " << piece_bytes;
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------------ piece by piece

std::string NextOf(MessageReader& reader) {
  const void* bytes = nullptr;
  int size = 0;
  if (!reader.Next(&bytes, &size)) return "no more";
  return {static_cast<const char*>(bytes), static_cast<size_t>(size)};
}

constexpr std::string_view kPieces[] = {"abc", "de", "fghi"};

TEST(MessageReader, BytesThatAreGivenBackComeOnceMore) {
  MessageReader reader(kPieces);
  EXPECT_EQ(NextOf(reader), "abc");
  reader.BackUp(2);
  EXPECT_EQ(reader.ByteCount(), 1);
  EXPECT_EQ(NextOf(reader), "bc");
  reader.BackUp(0);
  EXPECT_EQ(NextOf(reader), "de");
  EXPECT_EQ(reader.ByteCount(), 5);
}

TEST(MessageReader, SkipsAcrossPieces) {
  MessageReader reader(kPieces);
  EXPECT_EQ(NextOf(reader), "abc");
  reader.BackUp(1);
  EXPECT_TRUE(reader.Skip(5)) << "c, de, fg";
  EXPECT_EQ(reader.ByteCount(), 7);
  EXPECT_TRUE(reader.Skip(0));
  EXPECT_EQ(NextOf(reader), "hi");
  EXPECT_EQ(NextOf(reader), "no more");
}

TEST(MessageReader, SkipPastTheEndFailsThere) {
  MessageReader reader(kPieces);
  EXPECT_FALSE(reader.Skip(10));
  EXPECT_EQ(reader.ByteCount(), 9);
}

}  // namespace
}  // namespace latentd
