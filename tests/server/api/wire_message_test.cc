#include "server/api/wire_message.h"

#include <string>

#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/status.h"
#include "tests/server/api/request_bytes.h"

namespace latentd {
namespace {

constexpr char kBad[] = "\xff\xfe";

// The bytes of a message whose text is `good`, with one good text replaced by bytes that are not UTF-8.
std::string Broken(const google::protobuf::Message& message, const std::string& good) {
  std::string bytes = message.SerializeAsString();
  return bytes.replace(bytes.find(good), good.size(), std::string(kBad) + std::string(good.size() - 2, 'x'));
}

TEST(WireMessage, GoodBytesParse) {
  v1::GenerateRequest sent, received;
  sent.set_text("naïve");
  ASSERT_TRUE(ParseMessage(BufferOf(sent.SerializeAsString()), &received).ok());
  EXPECT_EQ(received.text(), "naïve");
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
  const absl::Status status = ParseMessage(BufferOf(Broken(message, "hello")), &received);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "messages[0].content: expected valid UTF-8");
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

}  // namespace
}  // namespace latentd
