#include "engine/schedule/flight_dump.h"

#include <limits>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kLeast = std::numeric_limits<int32_t>::min(), kMost = std::numeric_limits<int32_t>::max();

FlightDump SomeDump() {
  return {.fingerprint = "tiny cpu fp32",
          .num_recorded = 70'000,
          .clock_nanoseconds = 9'000'000'000,
          .unix_nanoseconds = 1'700'000'000'000'000'000,
          .entries = {{.nanoseconds = 5, .decision = FlightDecision::kSubmit, .request = 7, .numbers = {10, 20, -8, 2}},
                      {.nanoseconds = 5,
                       .decision = FlightDecision::kAdmit,
                       .request = std::numeric_limits<uint64_t>::max(),
                       .index = kMost,
                       .numbers = {kLeast, kMost, -1, 1}},
                      {.nanoseconds = 9'000'000'000, .decision = FlightDecision::kStep, .numbers = {2, 12, 345, 1}}}};
}

std::string MessageOf(std::string_view bytes) { return std::string(ReadFlightDump(bytes).status().message()); }

// The dump's bytes with the number at `place` replaced.
std::string With(size_t place, uint64_t number, size_t num_bytes) {
  std::string bytes = WriteFlightDump(SomeDump());
  for (size_t i = 0; i < num_bytes; ++i) bytes[place + i] = static_cast<char>(number >> (8 * i) & 0xff);
  return bytes;
}

constexpr size_t kFirstEntry = kFlightHeadBytes + 13;  // after SomeDump's fingerprint

TEST(FlightDump, WhatIsWrittenIsReadAgain) {
  const absl::StatusOr<FlightDump> read = ReadFlightDump(WriteFlightDump(SomeDump()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, SomeDump());
  EXPECT_EQ(ReadFlightDump(WriteFlightDump({})).value(), FlightDump{});
}

// Files of this version are read by later programs: these bytes must not change without another version.
TEST(FlightDump, BytesAreFixed) {
  const FlightDump dump{.fingerprint = "ab",
                        .num_recorded = 0x0102,
                        .clock_nanoseconds = 0x0304,
                        .unix_nanoseconds = 0x0506,
                        .entries = {{.nanoseconds = 0x11,
                                     .decision = FlightDecision::kWait,
                                     .request = 0x22,
                                     .index = 0x33,
                                     .numbers = {0x44, -1, 0x66, 0x77}}}};
  using namespace std::string_literals;
  EXPECT_EQ(WriteFlightDump(dump),
            "LATFLGHT\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0"
            "\x04\x03\0\0\0\0\0\0\x06\x05\0\0\0\0\0\0ab"
            "\x11\0\0\0\0\0\0\0\x22\0\0\0\0\0\0\0\x0e\0\0\0\x33\0\0\0"
            "\x44\0\0\0\xff\xff\xff\xff\x66\0\0\0\x77\0\0\0"s);
}

TEST(FlightDump, LongFingerprintIsCut) {
  FlightDump dump = SomeDump();
  dump.fingerprint = std::string(1000, 'x');
  EXPECT_EQ(ReadFlightDump(WriteFlightDump(dump)).value().fingerprint, std::string(256, 'x'));
}

TEST(FlightDump, EveryCutIsRefused) {
  const std::string bytes = WriteFlightDump(SomeDump());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(MessageOf(bytes.substr(0, size)), HasSubstr("expected a dump of the flight recorder, found")) << size;
  }
  EXPECT_THAT(MessageOf(bytes + "x"), HasSubstr("182 bytes for 3 entries"));
}

TEST(FlightDump, RefusalsSayWhatWasFound) {
  EXPECT_THAT(MessageOf(""), HasSubstr("0 bytes"));
  EXPECT_THAT(MessageOf(std::string(100, 'z')), HasSubstr("\"zzzzzzzz\""));
  EXPECT_THAT(MessageOf(With(8, 2, 4)), HasSubstr("version 2; this program reads 1"));
  EXPECT_THAT(MessageOf(With(12, 257, 4)), HasSubstr("a fingerprint of 257 bytes"));
  EXPECT_THAT(MessageOf(With(16, 70'001, 8)), HasSubstr("70001 entries of 70000"));
  EXPECT_THAT(MessageOf(With(16, 4, 8)), HasSubstr("bytes for 4 entries"));
  EXPECT_THAT(MessageOf(With(32, 8'999'999'999, 8)), HasSubstr("after the dump's"));
  EXPECT_THAT(MessageOf(With(40, ~uint64_t{0}, 8)), HasSubstr("before 1970"));
  EXPECT_THAT(MessageOf(With(kFlightHeadBytes, 0xff, 1)), HasSubstr("not UTF-8"));
  EXPECT_THAT(MessageOf(With(kFirstEntry, ~uint64_t{0}, 8)), HasSubstr("entry 0 before"));
  EXPECT_THAT(MessageOf(With(kFirstEntry + 16, kNumFlightDecisions, 4)), HasSubstr("decision 16 in entry 0"));
  EXPECT_THAT(MessageOf(With(kFirstEntry + 20, 0x80000000, 4)), HasSubstr("index -2147483648 in entry 0"));
}

// Counts whose product with an entry's size wraps around to the true size.
TEST(FlightDump, HugeCountsDoNotWrap) {
  std::string bytes = With(24, ~uint64_t{0}, 8);
  const uint64_t wrapping = (uint64_t{1} << 61) + 3;  // times 40: the same as 3 times 40, modulo 2^64
  for (size_t i = 0; i < 8; ++i) bytes[16 + i] = static_cast<char>(wrapping >> (8 * i) & 0xff);
  EXPECT_THAT(MessageOf(bytes), HasSubstr("bytes for 2305843009213693955 entries"));
}

TEST(FlightDump, ChangedBytesAreRefusedOrWrittenAgainAsTheyAre) {
  constexpr unsigned kSeed = 20261130;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::string whole = WriteFlightDump(SomeDump());
  int num_read = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = whole;
    for (int changes = 1 + static_cast<int>(random() % 3); changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const absl::StatusOr<FlightDump> read = ReadFlightDump(bytes);
    if (!read.ok()) continue;
    ++num_read;
    ASSERT_EQ(WriteFlightDump(*read), bytes);
  }
  EXPECT_GT(num_read, 1000);
}

}  // namespace
}  // namespace latentd
