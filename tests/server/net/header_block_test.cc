#include "server/net/header_block.h"

#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string operator""_bytes(const char* text, size_t size) { return {text, size}; }

int NumFields(const std::string& block) {
  HeaderFieldCounter whole;
  whole.Read(BytesOf(block));
  HeaderFieldCounter in_bytes;
  for (const char byte : block) in_bytes.Read(BytesOf(std::string(1, byte)));
  EXPECT_EQ(whole.num_fields(), in_bytes.num_fields());
  return whole.num_fields();
}

// RFC 7541, C.2 to C.4: its own examples.
TEST(HeaderFieldCounter, CountsTheFieldsOfTheStandardsExamples) {
  EXPECT_EQ(NumFields("\x40\x0a"
                      "custom-key\x0d"
                      "custom-header"),
            1);
  EXPECT_EQ(NumFields("\x04\x0c/sample/path"), 1);
  EXPECT_EQ(NumFields("\x10\x08password\x06secret"), 1);
  EXPECT_EQ(NumFields("\x82"), 1);
  EXPECT_EQ(NumFields("\x82\x86\x84\x41\x0fwww.example.com"), 4);
  EXPECT_EQ(NumFields("\x82\x86\x84\xbe\x58\x08no-cache"), 5);
  EXPECT_EQ(NumFields("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), 4);
}

TEST(HeaderFieldCounter, PassesOverLongIntegersAndStrings) {
  const std::string value(300, '\xbe');
  EXPECT_EQ(NumFields("\0\x01x\x7f\xad\x01"_bytes + value + "\x82"), 2) << "127 + 45 + 128 bytes";
  EXPECT_EQ(NumFields("\xff\x80\x01\x82"_bytes), 2) << "an index in three bytes";
  EXPECT_EQ(NumFields("\x3f\xe1\x1f\x82"_bytes), 2) << "a new size of the table is one as well";
  EXPECT_EQ(NumFields("\x7f\x00\x01y\x0f\x2f\x01z\x82"_bytes), 3) << "names by long indices";
  EXPECT_EQ(NumFields("\0\x00\x00\x82"_bytes), 2) << "empty texts";
}

TEST(HeaderFieldCounter, ANumberWithoutEndIsOneField) {
  EXPECT_EQ(NumFields("\0\x7f"_bytes + std::string(1000, '\x80')), 1);
}

TEST(HeaderBlock, PaddingAndPriorityAreNoFields) {
  using namespace http2;
  for (const bool in_bytes : {false, true}) {
    HeaderBlock block;
    const std::string padded = "\x03\x01\x02\x03\x04\x05\x82\x86\xbe\xbe\xbe";
    block.BeginFrame({.num_bytes = padded.size(), .kind = kHeaders, .flags = kPadded | kPriority, .stream = 1});
    for (size_t i = 0; i < padded.size(); i += in_bytes ? 1 : padded.size()) {
      block.Read(BytesOf(padded.substr(i, in_bytes ? 1 : padded.size())));
    }
    EXPECT_EQ(block.num_fields(), 2);
    block.BeginFrame({.num_bytes = 2, .kind = kContinuation, .flags = 0, .stream = 1});
    block.Read(BytesOf("\xbe\xbe"));
    EXPECT_EQ(block.num_fields(), 4);
    EXPECT_EQ(block.num_frames(), 2);
    EXPECT_EQ(block.num_bytes(), padded.size() + 2);
    block.BeginFrame({.num_bytes = 1, .kind = kHeaders, .flags = 0, .stream = 3});
    block.Read(BytesOf("\x82"));
    EXPECT_EQ(block.num_fields(), 1);
  }
}

TEST(HeaderBlock, PaddingBeyondTheFrameLeavesNoFields) {
  HeaderBlock block;
  block.BeginFrame({.num_bytes = 3, .kind = http2::kHeaders, .flags = http2::kPadded, .stream = 1});
  block.Read(BytesOf("\xff\x82\x82"));
  EXPECT_EQ(block.num_fields(), 0);
}

}  // namespace
}  // namespace latentd
