#include "engine/schedule/kv_events.h"

#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/schedule/cached_sequence.h"

namespace latentd {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(KvEvents, ABlockIsStoredBeneathTheOneBeforeItAndRemoved) {
  KvEvents events(10);
  events.StoredFirst({.low = 1}, "salt", Tokens(64));
  events.Stored({.low = 2}, {.low = 1}, Tokens(64, 64));
  events.Removed({.low = 2});
  events.Cleared();
  const std::vector<KvEvent> all = events.From(1, 10);
  ASSERT_THAT(all, SizeIs(4));
  EXPECT_EQ(all[0].kind, KvEvent::Kind::kStored);
  EXPECT_EQ(all[0].salt, "salt");
  EXPECT_FALSE(all[0].parent.has_value());
  EXPECT_THAT(all[0].token_ids, ElementsAreArray(Tokens(64)));
  EXPECT_EQ(all[1].hash, (BlockHash{.low = 2}));
  EXPECT_EQ(all[1].parent, (BlockHash{.low = 1}));
  EXPECT_EQ(all[1].salt, "");
  EXPECT_EQ(all[2].kind, KvEvent::Kind::kRemoved);
  EXPECT_EQ(all[2].hash, (BlockHash{.low = 2}));
  EXPECT_EQ(all[3].kind, KvEvent::Kind::kCleared);
}

TEST(KvEvents, ReaderSeesByTheNumbersWhatItMissed) {
  KvEvents events(4);
  EXPECT_THAT(events.From(1, 10), IsEmpty());
  for (uint64_t i = 1; i <= 6; ++i) events.Removed({.low = i});
  EXPECT_EQ(events.next_number(), 7u);
  const std::vector<KvEvent> held = events.From(1, 10);
  ASSERT_THAT(held, SizeIs(4));
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(held[i].number, 3 + i);
    EXPECT_EQ(held[i].hash.low, 3 + i);
  }
  EXPECT_THAT(events.From(5, 1), SizeIs(1));
  EXPECT_EQ(events.From(5, 1)[0].number, 5u);
  EXPECT_THAT(events.From(7, 10), IsEmpty());
  EXPECT_THAT(events.From(100, 10), IsEmpty());
}

TEST(KvEvents, ALaterEventHasNothingOfTheOneWhosePlaceItTakes) {
  KvEvents events(1);
  events.StoredFirst({.low = 1}, "salt", Tokens(64, 1));
  events.Cleared();
  const KvEvent event = events.From(1, 1)[0];
  EXPECT_EQ(event.hash, BlockHash());
  EXPECT_EQ(event.salt, "");
  EXPECT_THAT(event.token_ids, testing::Each(0));
}

TEST(KvEvents, AnyThreadReadsEachEventOnceWhileTheyAreWritten) {
  constexpr uint64_t kEvents = 2000;
  KvEvents events(kEvents);
  std::thread writer([&] {
    for (uint64_t i = 1; i <= kEvents; ++i) events.StoredFirst({.low = i, .high = i}, "s", Tokens(64));
  });
  uint64_t next = 1;
  while (next <= kEvents) {
    for (const KvEvent& event : events.From(next, 100)) {
      EXPECT_EQ(event.number, next);
      EXPECT_EQ(event.hash, (BlockHash{.low = next, .high = next}));
      ++next;
    }
  }
  writer.join();
}

}  // namespace
}  // namespace latentd
