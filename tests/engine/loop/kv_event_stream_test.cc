// Run under ThreadSanitizer, too.
#include "engine/loop/kv_event_stream.h"

#include <atomic>
#include <memory>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<uint64_t> NumbersOf(const std::vector<KvEvent>& events) {
  std::vector<uint64_t> numbers;
  for (const KvEvent& event : events) numbers.push_back(event.number);
  return numbers;
}

// Events with the numbers 1, 2, …, each of a block of that hash.
class KvEventStreamTest : public testing::Test {
 protected:
  void Record(int count) {
    for (int i = 0; i < count; ++i) events_.Removed({.low = events_.next_number()});
    stream_.Tell();
  }

  KvEvents events_{4};
  KvEventStream stream_{events_};
  int num_wakes_ = 0;
  KvEventReader reader_{stream_, 1, [this] { ++num_wakes_; }};
};

TEST_F(KvEventStreamTest, ReaderGetsEachEventOnceInOrder) {
  Record(3);
  EXPECT_THAT(NumbersOf(reader_.Take(2)), ElementsAre(1, 2));
  EXPECT_THAT(NumbersOf(reader_.Take(2)), ElementsAre(3));
  EXPECT_THAT(reader_.Take(2), IsEmpty());
  Record(1);
  EXPECT_THAT(NumbersOf(reader_.Take(2)), ElementsAre(4));
  EXPECT_EQ(reader_.num_missed(), 0u);
}

TEST_F(KvEventStreamTest, ReaderIsWokenOnceATurnThatRecordedSome) {
  stream_.Tell();
  EXPECT_EQ(num_wakes_, 0);
  Record(3);
  EXPECT_EQ(num_wakes_, 1);
  stream_.Tell();
  EXPECT_EQ(num_wakes_, 1);
  Record(1);
  EXPECT_EQ(num_wakes_, 2);
}

TEST_F(KvEventStreamTest, WhatWasOverwrittenIsTold) {
  Record(1);
  EXPECT_THAT(NumbersOf(reader_.Take(10)), ElementsAre(1));
  Record(6);
  const std::vector<KvEvent> events = reader_.Take(10);
  EXPECT_THAT(NumbersOf(events), ElementsAre(3, 4, 5, 6, 7));
  EXPECT_EQ(events[0].kind, KvEvent::Kind::kCleared);
  EXPECT_EQ(events[1].kind, KvEvent::Kind::kRemoved);
  EXPECT_EQ(reader_.num_missed(), 2u);
}

TEST_F(KvEventStreamTest, LaterReaderBeginsWhereItAsks) {
  Record(4);
  KvEventReader later(stream_, 3, [] {});
  EXPECT_THAT(NumbersOf(later.Take(10)), ElementsAre(3, 4));
  KvEventReader next(stream_, 5, [] {});
  EXPECT_THAT(next.Take(10), IsEmpty());
  Record(1);
  EXPECT_THAT(NumbersOf(next.Take(10)), ElementsAre(5));
}

TEST_F(KvEventStreamTest, NumberOfAnEarlierProcessBeginsAnew) {
  Record(3);
  KvEventReader reader(stream_, 1000, [] {});
  EXPECT_THAT(NumbersOf(reader.Take(10)), ElementsAre(1, 2, 3));
  KvEventReader unset(stream_, 0, [] {});
  EXPECT_THAT(NumbersOf(unset.Take(10)), ElementsAre(1, 2, 3));
}

TEST_F(KvEventStreamTest, ReaderThatWentIsNotWoken) {
  int num_wakes = 0;
  auto reader = std::make_unique<KvEventReader>(stream_, 1, [&num_wakes] { ++num_wakes; });
  Record(1);
  reader.reset();
  Record(1);
  EXPECT_EQ(num_wakes, 1);
  EXPECT_EQ(num_wakes_, 2);
}

// However slow it is: it follows a set of hashes, and ends with those that the writer has.
TEST(KvEventStream, ReaderOnAnotherThreadKnowsNothingThatIsGone) {
  constexpr uint64_t kBlocks = 20'000;
  constexpr uint64_t kLive = 10;
  KvEvents events(64);
  KvEventStream stream(events);
  std::atomic<bool> is_woken = false;
  KvEventReader reader(stream, 1, [&is_woken] { is_woken = true; });
  std::thread writer([&] {
    const std::array<int32_t, kBlockSlots> ids{};
    for (uint64_t i = 1; i <= kBlocks; ++i) {
      events.StoredFirst({.low = i}, "salt", ids);
      if (i > kLive) events.Removed({.low = i - kLive});
      stream.Tell();
    }
  });
  std::set<uint64_t> known;
  uint64_t last = 0;
  while (last < 2 * kBlocks - kLive) {
    if (!is_woken.exchange(false)) std::this_thread::yield();
    for (const KvEvent& event : reader.Take(16)) {
      EXPECT_GT(event.number, last);
      last = event.number;
      if (event.kind == KvEvent::Kind::kCleared) known.clear();
      if (event.kind == KvEvent::Kind::kStored) known.insert(event.hash.low);
      if (event.kind == KvEvent::Kind::kRemoved) known.erase(event.hash.low);
    }
  }
  writer.join();
  for (const uint64_t hash : known) EXPECT_GT(hash, kBlocks - kLive);
  EXPECT_TRUE(known.contains(kBlocks));
}

}  // namespace
}  // namespace latentd
