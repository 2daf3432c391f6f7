#include "engine/schedule/flight_recorder.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// All its fields follow from its number, so a reader can tell whether it read one entry or parts of two.
FlightEntry EntryOf(uint64_t number) {
  const auto value = static_cast<int32_t>(number);
  return {.nanoseconds = static_cast<int64_t>(number) * 7 - 3,
          .decision = static_cast<FlightDecision>(number % kNumFlightDecisions),
          .request = ~number,
          .index = -value,
          .numbers = {value, -value, value ^ 0x5555, value + 1}};
}

void RecordEntry(uint64_t number, FlightRecorder& recorder) {
  const FlightEntry entry = EntryOf(number);
  recorder.SetTime(TimePoint(Duration(entry.nanoseconds)));
  recorder.Record(entry.decision, {.request = entry.request, .index = entry.index}, entry.numbers);
}

TEST(FlightRecorder, BeginsEmpty) {
  const FlightRecorder recorder(8);
  FlightEntry entry;
  EXPECT_THAT(recorder.Before(recorder.num_recorded(), 8), IsEmpty());
  EXPECT_FALSE(recorder.Read(0, entry));
}

TEST(FlightRecorder, GivesBackWhatWasRecordedInItsOrder) {
  FlightRecorder recorder(8);
  for (uint64_t number = 0; number < 5; ++number) RecordEntry(number, recorder);
  const std::vector<FlightEntry> entries = recorder.Before(recorder.num_recorded(), 8);
  ASSERT_THAT(entries, SizeIs(5));
  for (uint64_t number = 0; number < 5; ++number) EXPECT_EQ(entries[number], EntryOf(number));
}

TEST(FlightRecorder, OldestMakesRoomForTheNewest) {
  FlightRecorder recorder(8);
  for (uint64_t number = 0; number < 100; ++number) RecordEntry(number, recorder);
  EXPECT_EQ(recorder.num_recorded(), 100U);
  // All but the one that the next entry will overwrite.
  const std::vector<FlightEntry> entries = recorder.Before(recorder.num_recorded(), 1000);
  ASSERT_THAT(entries, SizeIs(7));
  for (uint64_t i = 0; i < 7; ++i) EXPECT_EQ(entries[i], EntryOf(93 + i));
  FlightEntry entry;
  EXPECT_FALSE(recorder.Read(92, entry));
  EXPECT_TRUE(recorder.Read(99, entry));
  EXPECT_FALSE(recorder.Read(100, entry));
}

TEST(FlightRecorder, GivesNoMoreThanAskedFor) {
  FlightRecorder recorder(8);
  for (uint64_t number = 0; number < 6; ++number) RecordEntry(number, recorder);
  EXPECT_THAT(recorder.Before(6, 0), IsEmpty());
  EXPECT_THAT(recorder.Before(3, 2), SizeIs(2));
  const std::vector<FlightEntry> entries = recorder.Before(recorder.num_recorded(), 2);
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0], EntryOf(4));
  EXPECT_EQ(entries[1], EntryOf(5));
}

// A ring so small that almost every read races with the writer. What is read is whole, or is dropped.
TEST(FlightRecorder, ReaderNeverSeesPartsOfTwoEntries) {
  constexpr uint64_t kRecorded = 200'000;
  FlightRecorder recorder(4);
  std::atomic<bool> is_read = false;
  std::thread writer([&] {
    uint64_t number = 0;
    // On and on until a reader was there in between, however the threads are scheduled.
    while (number < kRecorded || !is_read) RecordEntry(number++, recorder);
  });
  uint64_t num_read = 0, num_torn = 0;
  FlightEntry entry;
  while (num_read < 1000) {
    const uint64_t end = recorder.num_recorded();
    for (uint64_t number = end - std::min<uint64_t>(end, 4); number < end; ++number) {
      if (!recorder.Read(number, entry)) continue;
      num_torn += entry == EntryOf(number) ? 0 : 1;
      ++num_read;
    }
  }
  is_read = true;
  writer.join();
  EXPECT_EQ(num_torn, 0U);
  EXPECT_GE(recorder.num_recorded(), kRecorded);
}

TEST(FlightRecorderDeathTest, RefusesASizeThatIsNoPowerOfTwo) { EXPECT_DEATH(FlightRecorder(12), "has_single_bit"); }

}  // namespace
}  // namespace latentd
