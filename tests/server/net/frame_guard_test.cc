#include "server/net/frame_guard.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::Eq;
using ::testing::Optional;

constexpr uint8_t kData = 0, kHeaders = 1, kPriority = 2, kResetStream = 3, kSettings = 4, kPing = 6, kGoaway = 7,
                  kWindowUpdate = 8, kContinuation = 9;
constexpr uint8_t kAck = 1, kEndStream = 1, kEndHeaders = 4;
constexpr size_t kMaxFrame = 16'384;

struct Sent {
  uint8_t kind;
  size_t num_bytes = 0;
  uint32_t stream = 0;
  uint8_t flags = 0;
};

// One connection, with a clock that only the test moves.
class Connection {
 public:
  Connection() { SendBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); }

  // What it was cut off for, if it was by now.
  std::optional<Offence> SendBytes(const std::string& bytes) {
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    if (!offence_) offence_ = guard_.Inspect({data, bytes.size()}, bytes_sent_, now_);
    return offence_;
  }
  std::optional<Offence> Send(const Sent& frame) { return SendBytes(Bytes(frame)); }
  // The same frame until it is cut off, `count` times at most: how many were sent, or nothing.
  std::optional<int> CutAfter(const Sent& frame, int count) {
    for (int i = 1; i <= count; ++i) {
      if (Send(frame)) return i;
    }
    return std::nullopt;
  }
  static std::string Bytes(const Sent& frame) { return Header(frame) + Payload(frame); }
  static std::string Header(const Sent& frame) {
    std::string bytes;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(frame.num_bytes >> shift & 0xff);
    bytes += static_cast<char>(frame.kind);
    bytes += static_cast<char>(frame.flags);
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(frame.stream >> shift & 0xff);
    return bytes;
  }
  // Header blocks with as few fields as possible: each has a name and a value of 127 bytes.
  static std::string Payload(const Sent& frame) {
    if (frame.kind != kHeaders && frame.kind != kContinuation) return std::string(frame.num_bytes, 'x');
    const std::string text = std::string(1, '\x7e') + std::string(126, 'x');
    std::string fields;
    while (fields.size() < frame.num_bytes) fields += '\0' + text + text;
    return fields.substr(0, frame.num_bytes);
  }
  // A request with a body of so many bytes, as gRPC's clients send it; 20,000 in a second.
  std::optional<Offence> Call(size_t body_bytes) {
    Wait(50e-6);
    stream_ += 2;
    Send({.kind = kHeaders, .num_bytes = 200, .stream = stream_, .flags = kEndHeaders});
    for (; body_bytes > kMaxFrame; body_bytes -= kMaxFrame) {
      Send({.kind = kData, .num_bytes = kMaxFrame, .stream = stream_});
    }
    return Send({.kind = kData, .num_bytes = body_bytes, .stream = stream_, .flags = kEndStream});
  }
  std::optional<Offence> OpenAndReset(size_t body_bytes = 0) {
    stream_ += 2;
    Send({.kind = kHeaders, .num_bytes = 200, .stream = stream_, .flags = kEndHeaders});
    for (size_t i = 0; i < body_bytes / kMaxFrame; ++i) {
      Send({.kind = kData, .num_bytes = kMaxFrame, .stream = stream_});
    }
    return Send({.kind = kResetStream, .num_bytes = 4, .stream = stream_});
  }
  size_t upload_bytes() const { return guard_.upload_bytes(); }
  void EndStream(uint32_t stream) { guard_.EndStream(stream); }
  Sending sending() const { return guard_.sending(); }
  double TakeOpenedStreams() { return guard_.TakeOpenedStreams(); }
  void Answer(uint64_t num_bytes) { bytes_sent_ += num_bytes; }
  void Wait(double seconds) { now_ += FromSeconds(seconds); }

 private:
  TimePoint now_ = TimePoint{} + std::chrono::hours(1);
  FrameGuard guard_{now_};
  uint64_t bytes_sent_ = 0;
  uint32_t stream_ = 1;
  std::optional<Offence> offence_;
};

// As fast as a daemon can make them.
TEST(FrameGuard, TellsWhetherRequestsAreWhole) {
  Connection connection;
  EXPECT_EQ(connection.sending(), Sending::kWhole);
  connection.Call(100);
  EXPECT_EQ(connection.sending(), Sending::kWhole);
  connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = 101, .flags = kEndHeaders});
  EXPECT_EQ(connection.sending(), Sending::kNothing);
  connection.Send({.kind = kData, .num_bytes = 1, .stream = 101});
  EXPECT_EQ(connection.sending(), Sending::kPart);
  const Sent last{.kind = kData, .num_bytes = 1000, .stream = 101, .flags = kEndStream};
  connection.SendBytes(Connection::Header(last));
  EXPECT_EQ(connection.sending(), Sending::kPart) << "the flag is there, the bytes are not";
  connection.SendBytes(Connection::Payload(last));
  EXPECT_EQ(connection.sending(), Sending::kWhole);
  connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = 103, .flags = kEndHeaders | kEndStream});
  EXPECT_EQ(connection.sending(), Sending::kWhole);
  connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = 105, .flags = kEndHeaders});
  connection.EndStream(105);
  EXPECT_EQ(connection.sending(), Sending::kWhole) << "nobody waits for the rest";
}

TEST(FrameGuard, WindowUpdatesForEachTokenPass) {
  Connection connection;
  for (int i = 0; i < 100'000; ++i) {
    connection.Answer(45);
    EXPECT_EQ(connection.Send({.kind = kWindowUpdate, .num_bytes = 4, .stream = 0}), std::nullopt);
    EXPECT_EQ(connection.Send({.kind = kWindowUpdate, .num_bytes = 4, .stream = 1}), std::nullopt);
  }
}

TEST(FrameGuard, CallsOfAnySizePass) {
  Connection connection;
  for (int i = 0; i < 200; ++i) EXPECT_EQ(connection.Call(4 << 20), std::nullopt);
  for (int i = 0; i < 50'000; ++i) EXPECT_EQ(connection.Call(100), std::nullopt);
}

TEST(FrameGuard, ManyUploadsAtATimePass) {
  Connection connection;
  constexpr uint32_t kUploads = 300;
  for (uint32_t i = 0; i < kUploads; ++i) {
    connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = 2 * i + 1, .flags = kEndHeaders});
  }
  for (size_t sent = 0; sent + kMaxFrame <= 4 << 20; sent += kMaxFrame) {
    for (uint32_t i = 0; i < kUploads; ++i) {
      ASSERT_EQ(connection.Send({.kind = kData, .num_bytes = kMaxFrame, .stream = 2 * i + 1}), std::nullopt);
    }
  }
}

TEST(FrameGuard, AThousandCallsCancelledAtOncePassAndEverySecondOneForEver) {
  Connection connection;
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(connection.OpenAndReset(), std::nullopt);
  for (int i = 0; i < 20'000; ++i) {
    EXPECT_EQ(connection.Call(100), std::nullopt);
    connection.Answer(60);
    EXPECT_EQ(connection.OpenAndReset(), std::nullopt);
  }
}

TEST(FrameGuard, AReaderMayAnswerAllThatItIsSent) {
  Connection connection;
  for (int i = 0; i < 100'000; ++i) {
    connection.Answer(80);
    EXPECT_EQ(connection.Send({.kind = kWindowUpdate, .num_bytes = 4, .stream = 1}), std::nullopt);
  }
  for (int i = 0; i < 100'000; ++i) {
    connection.Answer(60 + 17);  // a token, and what answers the ping
    EXPECT_EQ(connection.Send({.kind = kPing, .num_bytes = 8}), std::nullopt);
  }
}

TEST(FrameGuard, TheBytesMayComeInAnyPieces) {
  const std::string call = Connection::Bytes({.kind = kHeaders, .num_bytes = 40, .stream = 3, .flags = kEndHeaders}) +
                           Connection::Bytes({.kind = kData, .num_bytes = 30, .stream = 3, .flags = kEndStream});
  Connection connection;
  for (const char byte : call) EXPECT_EQ(connection.SendBytes(std::string(1, byte)), std::nullopt);
  EXPECT_THAT(connection.CutAfter({.kind = kData, .num_bytes = kMaxFrame, .stream = 3}, 1'000), Optional(Eq(513)))
      << "each frame was told from the next: this stream is over, and its data unasked";
}

TEST(FrameGuard, AHeaderBlockEndsSoon) {
  for (const size_t size : {kMaxFrame, size_t{1000}, size_t{1}, size_t{0}}) {
    Connection connection;
    connection.Send({.kind = kHeaders, .num_bytes = size, .stream = 1});
    EXPECT_NE(connection.CutAfter({.kind = kContinuation, .num_bytes = size, .stream = 1}, 32), std::nullopt) << size;
    EXPECT_THAT(connection.SendBytes(""), Optional(Offence::kHeaderBlock));
  }
}

TEST(FrameGuard, HeadersInAllAreBounded) {
  Connection connection;
  uint32_t stream = 1;
  std::optional<Offence> offence;
  for (int i = 0; i < 2'000 && !offence; ++i, stream += 2) {
    offence = connection.Send({.kind = kHeaders, .num_bytes = kMaxFrame, .stream = stream, .flags = kEndStream});
  }
  EXPECT_THAT(offence, Optional(Offence::kHeaderBytes));
}

TEST(FrameGuard, ControlFramesThatNothingExplainsAreBounded) {
  for (const Sent& frame : {Sent{.kind = kPing, .num_bytes = 8, .flags = kAck}, Sent{.kind = kSettings, .num_bytes = 6},
                            Sent{.kind = kWindowUpdate, .num_bytes = 4}, Sent{.kind = kPriority, .num_bytes = 5},
                            Sent{.kind = kGoaway, .num_bytes = 1000}, Sent{.kind = 0x42, .num_bytes = 9000},
                            Sent{.kind = kData, .num_bytes = 0, .stream = 1}}) {
    Connection connection;
    EXPECT_NE(connection.CutAfter(frame, 10'001), std::nullopt) << int{frame.kind};
    EXPECT_THAT(connection.SendBytes(""), Optional(Offence::kControlFrames));
  }
}

TEST(FrameGuard, PingsThatNothingExplainsAreBounded) {
  Connection connection;
  std::optional<Offence> offence;
  for (int i = 0; i < 20'000 && !offence; ++i) {
    offence = connection.Send({.kind = kPing, .num_bytes = 8});
    connection.Answer(17);
  }
  EXPECT_THAT(offence, Optional(Offence::kPings)) << "what answers them is no explanation";
}

TEST(FrameGuard, ABodyInTinyFramesIsCutOff) {
  Connection connection;
  connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = 1, .flags = kEndHeaders});
  EXPECT_NE(connection.CutAfter({.kind = kData, .num_bytes = 1, .stream = 1}, 10'001), std::nullopt);
}

TEST(FrameGuard, EachOpenedStreamIsCountedOnceAndOneThatWastesAnUploadUpToNineTimes) {
  Connection connection;
  EXPECT_EQ(connection.TakeOpenedStreams(), 0.0);
  for (int i = 0; i < 5; ++i) connection.Call(100);
  connection.OpenAndReset();
  EXPECT_EQ(connection.TakeOpenedStreams(), 6.0);
  EXPECT_EQ(connection.TakeOpenedStreams(), 0.0);
  connection.OpenAndReset(1 << 20);
  EXPECT_EQ(connection.TakeOpenedStreams(), 3.0);
  connection.OpenAndReset(4 << 20);
  EXPECT_EQ(connection.TakeOpenedStreams(), 9.0);
  connection.OpenAndReset();
  EXPECT_EQ(connection.TakeOpenedStreams(), 1.0);
}

TEST(FrameGuard, AStreamWithLargeHeadersWeighsMore) {
  Connection connection;
  connection.Send({.kind = kHeaders, .num_bytes = 8000, .stream = 1, .flags = kEndHeaders});
  EXPECT_EQ(connection.TakeOpenedStreams(), 1.0);
  connection.Send({.kind = kHeaders, .num_bytes = kMaxFrame, .stream = 3, .flags = kEndHeaders});
  EXPECT_EQ(connection.TakeOpenedStreams(), 1.0 + 2.0 + 1.0) << "16 KiB, 65 fields";
  const std::string indexed(200, '\xbe');
  connection.SendBytes(Connection::Header({.kind = kHeaders, .num_bytes = 200, .stream = 5, .flags = kEndHeaders}) +
                       indexed);
  EXPECT_EQ(connection.TakeOpenedStreams(), 1.0 + 3.0);
}

TEST(FrameGuard, UnfinishedMessagesAreCountedUntilEitherSideEndsThem) {
  Connection connection;
  const auto upload = [&connection](uint32_t stream, uint8_t flags) {
    connection.Send({.kind = kData, .num_bytes = 1000, .stream = stream, .flags = flags});
  };
  for (const uint32_t stream : {1U, 3U, 5U}) {
    connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = stream, .flags = kEndHeaders});
    upload(stream, 0);
  }
  EXPECT_EQ(connection.upload_bytes(), 3000U);
  upload(1, kEndStream);
  EXPECT_EQ(connection.upload_bytes(), 2000U);
  connection.Send({.kind = kResetStream, .num_bytes = 4, .stream = 3});
  EXPECT_EQ(connection.upload_bytes(), 1000U);
  connection.EndStream(5);
  connection.EndStream(5);
  upload(5, 0);
  EXPECT_EQ(connection.upload_bytes(), 0U) << "what is on its way is thrown away";
  upload(5, kEndStream);
  connection.Send({.kind = kResetStream, .num_bytes = 4, .stream = 7});
  EXPECT_EQ(connection.upload_bytes(), 0U);
}

TEST(FrameGuard, ResetsThatNothingExplainsAreBounded) {
  Connection connection;
  EXPECT_NE(connection.CutAfter({.kind = kResetStream, .num_bytes = 4, .stream = 1}, 10'001), std::nullopt);
  EXPECT_THAT(connection.SendBytes(""), Optional(Offence::kControlFrames));
}

TEST(FrameGuard, AHeaderBlockOfManyFieldsIsCutOff) {
  const std::string indexed(400, '\xbe');  // each stands for what the table has at 62
  for (const size_t split : {size_t{1}, size_t{200}, size_t{255}}) {
    Connection connection;
    EXPECT_EQ(connection.SendBytes(Connection::Header({.kind = kHeaders, .num_bytes = split, .stream = 1}) +
                                   indexed.substr(0, split)),
              std::nullopt);
    const Sent rest = {.kind = kContinuation, .num_bytes = 400 - split, .stream = 1, .flags = kEndHeaders};
    EXPECT_THAT(connection.SendBytes(Connection::Header(rest) + indexed.substr(split)),
                Optional(Offence::kHeaderBlock));
  }
}

TEST(FrameGuard, DataBeyondTheLargestMessageIsCutOff) {
  Connection connection;
  connection.Send({.kind = kHeaders, .num_bytes = 200, .stream = 1, .flags = kEndHeaders});
  const auto cut = connection.CutAfter({.kind = kData, .num_bytes = kMaxFrame, .stream = 1}, 10'000);
  EXPECT_LE(static_cast<size_t>(cut.value_or(10'000)) * kMaxFrame,
            FrameGuard::kMaxBodyBytes + FrameGuard::kMaxUnaskedBytes + kMaxFrame);
  EXPECT_THAT(connection.SendBytes(""), Optional(Offence::kUnaskedBytes));
}

TEST(FrameGuard, DataOfNoStreamIsCutOff) {
  Connection connection;
  EXPECT_NE(connection.CutAfter({.kind = kData, .num_bytes = kMaxFrame, .stream = 7}, 513), std::nullopt);
  EXPECT_THAT(connection.SendBytes(""), Optional(Offence::kUnaskedBytes));
}

TEST(FrameGuard, WhatWasTakenComesBackInTime) {
  Connection connection;
  for (int hour = 0; hour < 3; ++hour) {
    EXPECT_EQ(connection.CutAfter({.kind = kPing, .num_bytes = 8}, 400), std::nullopt);
    connection.Wait(3600.0);
  }
}

}  // namespace
}  // namespace latentd
