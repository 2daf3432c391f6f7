// Races found, and correct code in which none is found, under every schedule.
#include <numeric>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/tests/launch.h"

namespace cuda_emulator {
namespace {

void Barrier(Where where) {
  static const char site = 0;
  BarrierSyncAt(0, 0, &site, where);
}

uint32_t AtomicAdd(uint32_t* pointer, uint32_t value, Where where) {
  CheckAtomic(pointer, 4, where);
  return std::exchange(*pointer, *pointer + value);
}

class Races : public testing::TestWithParam<ScheduleKind> {
 protected:
  void SetUp() override { SetSchedule({.kind = GetParam(), .seed = 9}); }
  void TearDown() override { SetSchedule({}); }
};
INSTANTIATE_TEST_SUITE_P(Schedules, Races, testing::ValuesIn(kAllSchedules));

using CleanRuns = Races;
INSTANTIATE_TEST_SUITE_P(Schedules, CleanRuns, testing::ValuesIn(kAllSchedules));

// ------------------------------------------------------------------------------------- shared memory, between warps

TEST_P(Races, TwoWarpsWriteOneWord) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) { STORE(SharedArray<uint32_t>() + current_thread->lane, 1u); }),
                 "race: .*race_test.cc:[0-9]+: store of 4 bytes at byte [0-9]+ of the shared memory \\(.*\\): nothing "
                 "orders it and a store by thread [0-9]+,0,0 at .*race_test.cc:[0-9]+ \\[kernel");
}

TEST_P(Races, ReductionWithoutABarrier) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                auto* sums = SharedArray<uint32_t>();
                                if (current_thread->lane == 0) STORE(sums + current_thread->warp, 1u);
                                if (current_thread->warp == 0) LOAD(sums + 1);
                              }),
                 "race: |uninitialised: ");
}

TEST_P(Races, ReaderAndWriterWithoutABarrier) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                auto* word = SharedArray<uint32_t>();
                                if (ThreadIndex() == 0) STORE(word, 1u);
                                Barrier(HERE);
                                if (current_thread->warp == 0) LOAD(word);
                                if (ThreadIndex() == 40) STORE(word, 2u);
                              }),
                 "race: ");
}

TEST_P(Races, AnyOfManyReadersIsRemembered) {
  EXPECT_FAILURE(LaunchShadow({.threads = 128},
                              [](const std::byte*) {
                                auto* word = SharedArray<uint32_t>();
                                if (ThreadIndex() == 0) STORE(word, 1u);
                                Barrier(HERE);
                                LOAD(word);
                                WarpSync(kFullMask, HERE);
                                if (ThreadIndex() == 64) STORE(word, 2u);
                              }),
                 "race: ");
}

TEST_P(Races, DoubleBufferWithoutItsSecondBarrier) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                auto* buffers = SharedArray<uint32_t>();
                                for (uint32_t stage = 0; stage < 4; ++stage) {
                                  auto* buffer = buffers + stage % 2 * 64;
                                  STORE(buffer + ThreadIndex(), stage);
                                  if (stage % 2 == 0) Barrier(HERE);
                                  LOAD(buffer + (ThreadIndex() + 32 * (1 - stage % 2)) % 64);
                                }
                              }),
                 "race: ");
}

TEST_P(CleanRuns, DoubleBuffer) {
  LaunchShadow({.blocks = 3, .threads = 64}, [](const std::byte*) {
    auto* buffers = SharedArray<uint32_t>();
    for (uint32_t stage = 0; stage < 8; ++stage) {
      auto* buffer = buffers + stage % 2 * 64;
      STORE(buffer + ThreadIndex(), stage);
      Barrier(HERE);
      LOAD(buffer + (ThreadIndex() + 32) % 64);
    }
  });
}

TEST_P(CleanRuns, NeighbouringBytesOfOneWord) {
  LaunchShadow({.threads = 128}, [](const std::byte*) {
    auto* bytes = SharedArray<uint8_t>();
    for (int round = 0; round < 3; ++round) {
      STORE(bytes + ThreadIndex(), uint8_t{1});
      Barrier(HERE);
      if (ThreadIndex() < 32) LOAD(SharedArray<uint32_t>() + ThreadIndex());
      Barrier(HERE);
    }
  });
}

TEST_P(Races, ByteInsideAWordOfAnother) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                if (ThreadIndex() == 0) STORE(SharedArray<uint32_t>() + 1, 0u);
                                if (ThreadIndex() == 33) STORE(SharedArray<uint8_t>() + 6, uint8_t{0});
                              }),
                 "race: ");
}

// --------------------------------------------------------------------------------------------------- within a warp

TEST_P(Races, LanesWithoutAWarpSync) {
  EXPECT_FAILURE(LaunchShadow({},
                              [](const std::byte*) {
                                auto* words = SharedArray<uint32_t>();
                                STORE(words + current_thread->lane, 1u);
                                Ballot(true, kFullMask, SITE, HERE);  // meets, but orders nothing
                                LOAD(words + (current_thread->lane ^ 1));
                              }),
                 "race: ");
}

TEST_P(CleanRuns, LanesWithWarpSyncs) {
  LaunchShadow({.threads = 96}, [](const std::byte*) {
    auto* words = SharedArray<uint32_t>() + 32 * current_thread->warp;
    for (uint32_t round = 0; round < 5; ++round) {
      STORE(words + current_thread->lane, round);
      WarpSync(kFullMask, HERE);
      LOAD(words + (current_thread->lane ^ 1));
      LOAD(words);
      WarpSync(kFullMask, HERE);
    }
  });
}

TEST_P(Races, WarpSyncOfTheWrongHalf) {
  EXPECT_FAILURE(LaunchShadow({},
                              [](const std::byte*) {
                                auto* words = SharedArray<uint32_t>();
                                const uint32_t lane = current_thread->lane;
                                STORE(words + lane, 1u);
                                WarpSync(lane < 16 ? 0xFFFFu : 0xFFFF0000u, HERE);
                                LOAD(words + (lane ^ 16));
                              }),
                 "race: |uninitialised: ");
}

TEST_P(CleanRuns, WarpSyncsOfHalvesThenOfAll) {
  LaunchShadow({}, [](const std::byte*) {
    auto* words = SharedArray<uint32_t>();
    const uint32_t lane = current_thread->lane;
    for (uint32_t round = 0; round < 3; ++round) {
      STORE(words + lane, 1u);
      WarpSync(lane < 16 ? 0xFFFFu : 0xFFFF0000u, HERE);
      LOAD(words + (lane ^ 8));
      WarpSync(kFullMask, HERE);
      LOAD(words + (lane ^ 16));
      WarpSync(kFullMask, HERE);
    }
  });
}

TEST_P(Races, WarpSyncDoesNotOrderOtherWarps) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                STORE(SharedArray<uint32_t>() + current_thread->lane, 1u);
                                WarpSync(kFullMask, HERE);
                              }),
                 "race: ");
}

// -------------------------------------------------------------------------------------------------- named barriers

void RunProducerAndConsumers(bool consumers_report) {
  // Warp 0 fills, warps 1 and 2 read; barrier 1: full, barrier 2: empty.
  auto* word = SharedArray<uint32_t>();
  static const char full = 0, empty = 0;
  for (uint32_t round = 0; round < 4; ++round) {
    if (current_thread->warp == 0) {
      STORE(word + current_thread->lane, round);
      BarrierSyncAt(1, 96, &full, HERE);
      if (consumers_report) BarrierSyncAt(2, 96, &empty, HERE);
    } else if (current_thread->warp < 3) {
      BarrierSyncAt(1, 96, &full, HERE);
      LOAD(word + (current_thread->lane ^ 1));
      if (consumers_report) BarrierSyncAt(2, 96, &empty, HERE);
    }
  }
}

TEST_P(CleanRuns, ProducerAndConsumersWithNamedBarriers) {
  LaunchShadow({.blocks = 2, .threads = 128}, [](const std::byte*) { RunProducerAndConsumers(true); });
}

TEST_P(Races, ConsumersThatDoNotReport) {
  EXPECT_FAILURE(LaunchShadow({.threads = 128}, [](const std::byte*) { RunProducerAndConsumers(false); }), "race: ");
}

TEST_P(CleanRuns, TwoGroupsReadOneBufferAndReportSeparately) {
  LaunchShadow({.threads = 96}, [](const std::byte*) {
    auto* word = SharedArray<uint32_t>();
    static const char full = 0, first_done = 0, second_done = 0;
    for (uint32_t round = 0; round < 4; ++round) {
      const uint32_t warp = current_thread->warp;
      if (warp == 0) STORE(word + current_thread->lane, round);
      BarrierSyncAt(0, 96, &full, HERE);
      if (warp != 0) LOAD(word);
      if (warp != 2) BarrierSyncAt(1, 64, &first_done, HERE);
      if (warp != 1) BarrierSyncAt(2, 64, &second_done, HERE);
    }
  });
}

TEST_P(Races, NamedBarrierOrdersOnlyItsParticipants) {
  EXPECT_FAILURE(LaunchShadow({.threads = 96},
                              [](const std::byte*) {
                                auto* word = SharedArray<uint32_t>();
                                static const char site = 0;
                                if (ThreadIndex() == 0) STORE(word, 1u);
                                if (current_thread->warp < 2) BarrierSyncAt(1, 64, &site, HERE);
                                if (ThreadIndex() == 64) STORE(word, 2u);
                              }),
                 "race: ");
}

// --------------------------------------------------------------------------------------------------------- atomics

TEST_P(CleanRuns, AtomicsAgainstAtomics) {
  auto* counter = DeviceArrayOf<uint32_t>({0});
  LaunchShadow(
      {.blocks = 4, .threads = 64},
      [](const std::byte* p) {
        auto* shared = SharedArray<uint32_t>();
        if (ThreadIndex() == 0) STORE(shared, 0u);
        Barrier(HERE);
        AtomicAdd(shared, 1, HERE);
        AtomicAdd(Argument<uint32_t>(p), 1, HERE);
        Barrier(HERE);
        if (LOAD(shared) != 64) Fail(HERE, "test", "sum");
      },
      counter);
  EXPECT_EQ(*counter, 256u);
}

TEST_P(Races, AtomicAgainstAPlainLoad) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                auto* word = SharedArray<uint32_t>();
                                if (ThreadIndex() == 0) STORE(word, 0u);
                                Barrier(HERE);
                                if (current_thread->warp == 0) AtomicAdd(word, 1, HERE);
                                if (ThreadIndex() == 40) LOAD(word);
                              }),
                 "race: ");
}

TEST_P(Races, PlainLoadAmongTheAtomicsOfMany) {
  EXPECT_FAILURE(LaunchShadow({.threads = 64},
                              [](const std::byte*) {
                                auto* word = SharedArray<uint32_t>();
                                if (ThreadIndex() == 0) STORE(word, 0u);
                                Barrier(HERE);
                                AtomicAdd(word, 1, HERE);
                                if (ThreadIndex() == 63 || ThreadIndex() == 0) LOAD(word);
                              }),
                 "race: ");
}

TEST_P(CleanRuns, VolatileFlagsDoNotRaceWithAtomics) {
  auto* flag = DeviceArrayOf<uint32_t>({0});
  LaunchShadow(
      {.blocks = 2, .threads = 64},
      [](const std::byte* p) {
        AtomicAdd(Argument<uint32_t>(p), 1, HERE);
        CheckStrongLoad(Argument<uint32_t>(p), 4, HERE);
        CheckStrongStore(Argument<uint32_t>(p), 4, HERE);
      },
      flag);
}

// ------------------------------------------------------------------------------------- global memory, between blocks

TEST_P(Races, TwoBlocksWriteOneWord) {
  auto* word = DeviceArray<uint32_t>(1);
  EXPECT_FAILURE(LaunchShadow(
                     {.blocks = 2, .threads = 1}, [](const std::byte* p) { STORE(Argument<uint32_t>(p), 1u); }, word),
                 "race: .*store of 4 bytes at a global address .*a store by block [01],0,0");
}

TEST_P(Races, BlocksAreNotOrderedByTheirBarriers) {
  auto* words = DeviceArrayOf<uint32_t>({1, 2});
  EXPECT_FAILURE(LaunchShadow(
                     {.blocks = 2, .threads = 64},
                     [](const std::byte* p) {
                       auto* words = Argument<uint32_t>(p);
                       LOAD(words);  // all read both words, and then each block writes its own
                       LOAD(words + 1);
                       Barrier(HERE);
                       if (ThreadIndex() == 0) STORE(words + ctaid.x, 1u);
                     },
                     words),
                 "race: .*block [01],0,0");
}

TEST_P(Races, InPlaceUpdateOfWhatManyBlocksRead) {
  auto* words = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(8));
  EXPECT_FAILURE(LaunchShadow(
                     {.blocks = 8, .threads = 32},
                     [](const std::byte* p) {
                       auto* words = Argument<uint32_t>(p);
                       LOAD(words + 5);
                       Barrier(HERE);
                       if (ctaid.x == 5 && ThreadIndex() == 0) STORE(words + 5, 1u);
                     },
                     words),
                 "race: ");
}

TEST_P(CleanRuns, BlocksReadTogetherAndWriteApart) {
  auto* words = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(64 * 5));
  for (int launch = 0; launch < 3; ++launch) {
    LaunchShadow(
        {.blocks = 4, .threads = 64},
        [](const std::byte* p) {
          auto* words = Argument<uint32_t>(p);
          LOAD(words);
          LOAD(words + ThreadIndex());
          STORE(words + 64 * (1 + ctaid.x) + ThreadIndex(), 1u);
          Barrier(HERE);
          LOAD(words + 64 * (1 + ctaid.x) + (ThreadIndex() ^ 33));
        },
        words);
    LaunchShadow(
        {.threads = 64}, [](const std::byte* p) { STORE(Argument<uint32_t>(p) + ThreadIndex(), 2u); }, words);
  }
}

struct LastBlock {
  uint32_t counter;
  uint32_t partial[8];
  uint32_t total;
};

template <bool kFences, bool kSynchronises>
void SumInLastBlock(const std::byte* p) {
  auto* sums = Argument<LastBlock>(p);
  auto* is_last = SharedArray<uint32_t>();
  if (ThreadIndex() == 33) STORE(&sums->partial[ctaid.x], ctaid.x + 1);
  if (kSynchronises) Barrier(HERE);
  if (ThreadIndex() == 0) {
    if (kFences) ThreadFence(kFenceDevice);
    STORE(is_last, AtomicAdd(&sums->counter, 1, HERE) + 1 == nctaid.x ? 1u : 0u);
  }
  Barrier(HERE);
  if (LOAD(is_last) == 0 || ThreadIndex() != 0) return;
  uint32_t total = 0;
  for (uint32_t i = 0; i < nctaid.x; ++i) total += LOAD(&sums->partial[i]);
  STORE(&sums->total, total);
}

LastBlock* NewLastBlock() { return DeviceArrayOf(std::vector<LastBlock>(1)); }

TEST_P(CleanRuns, TheLastBlockSums) {
  auto* sums = NewLastBlock();
  LaunchShadow({.blocks = 8, .threads = 64}, SumInLastBlock<true, true>, sums);
  EXPECT_EQ(sums->total, 36u);
}

TEST_P(Races, TheLastBlockSumsWithoutAFence) {
  EXPECT_FAILURE(LaunchShadow({.blocks = 8, .threads = 64}, SumInLastBlock<false, true>, NewLastBlock()),
                 "race: .*load of 4 bytes at a global address .*a store by block");
}

TEST_P(Races, TheLastBlockSumsWithoutABarrierBeforeTheAtomic) {
  EXPECT_FAILURE(LaunchShadow({.blocks = 8, .threads = 64}, SumInLastBlock<true, false>, NewLastBlock()),
                 "race: .*a store by ");
}

TEST_P(CleanRuns, EveryThreadFencesAndTheLastBlockSums) {
  auto* sums = NewLastBlock();
  LaunchShadow(
      {.blocks = 8, .threads = 64},
      [](const std::byte* p) {
        auto* sums = Argument<LastBlock>(p);
        auto* is_last = SharedArray<uint32_t>();
        if (ThreadIndex() == 33) STORE(&sums->partial[ctaid.x], ctaid.x + 1);
        ThreadFence(kFenceDevice);
        Barrier(HERE);
        if (ThreadIndex() == 0) STORE(is_last, AtomicAdd(&sums->counter, 1, HERE) + 1 == nctaid.x ? 1u : 0u);
        Barrier(HERE);
        if (LOAD(is_last) == 0 || ThreadIndex() != 0) return;
        for (uint32_t i = 0; i < nctaid.x; ++i) LOAD(&sums->partial[i]);
      },
      sums);
}

// -------------------------------------------------------------------------------------------------------- cp.async

template <bool kFreesBuffer, bool kPublishes>
void StreamThroughBuffers(const std::byte* p) {
  auto* buffers = SharedArray<uint32_t>();
  const auto issue = [&](uint32_t stage) {
    if (ThreadIndex() < 16) {
      AsyncCopy(SharedAddress(buffers + stage % 2 * 64 + 4 * ThreadIndex()),
                Argument<uint32_t>(p) + stage * 64 + 4 * ThreadIndex(), 16, 16, HERE);
    }
    AsyncCommit();
  };
  issue(0);
  for (uint32_t stage = 0; stage < 6; ++stage) {
    if (stage < 5) issue(stage + 1);
    AsyncWait(stage < 5 ? 1 : 0, HERE);
    if (kPublishes) Barrier(HERE);
    LOAD(buffers + stage % 2 * 64 + ThreadIndex());
    if (kFreesBuffer) Barrier(HERE);
  }
}

TEST_P(CleanRuns, AsyncDoubleBuffer) {
  auto* input = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(6 * 64));
  for (const AsyncCompletion mode : {AsyncCompletion::kEarly, AsyncCompletion::kLate, AsyncCompletion::kRandom}) {
    SetSchedule({.kind = GetParam(), .async = mode, .seed = 2});
    LaunchShadow({.blocks = 2, .threads = 64}, StreamThroughBuffers<true, true>, input);
  }
}

TEST_P(Races, AsyncCopyIntoABufferThatIsStillRead) {
  auto* input = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(6 * 64));
  for (const AsyncCompletion mode : {AsyncCompletion::kEarly, AsyncCompletion::kLate}) {
    SetSchedule({.kind = GetParam(), .async = mode, .seed = 2});
    EXPECT_FAILURE(LaunchShadow({.threads = 64}, StreamThroughBuffers<false, true>, input),
                   "race: |uninitialised: .*cp.async");
  }
}

TEST_P(Races, AsyncCopyThatNoBarrierPublishes) {
  auto* input = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(6 * 64));
  EXPECT_FAILURE(LaunchShadow({.threads = 64}, StreamThroughBuffers<true, false>, input), "race: |uninitialised: ");
}

TEST_P(Races, StoreToTheSourceOfACopyUnderWay) {
  auto* input = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(64));
  EXPECT_FAILURE(LaunchShadow(
                     {.threads = 64},
                     [](const std::byte* p) {
                       if (ThreadIndex() == 0) {
                         AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p), 16, 16, HERE);
                         AsyncCommit();
                       }
                       Barrier(HERE);
                       if (ThreadIndex() == 50) STORE(Argument<uint32_t>(p), 1u);
                       if (ThreadIndex() == 0) AsyncWait(0, HERE);
                       Barrier(HERE);
                     },
                     input),
                 "race: ");
}

TEST_P(Races, LoadMatrixOfWhatOtherLanesStored) {
  EXPECT_FAILURE(LaunchShadow({},
                              [](const std::byte*) {
                                for (uint32_t i = 0; i < 4; ++i) {
                                  STORE(SharedArray<uint32_t>() + i * 32 + current_thread->lane, 0u);
                                }
                                Ballot(true, kFullMask, SITE, HERE);
                                uint32_t out[4];
                                const auto address = SharedAddress(SharedArray<uint32_t>() + current_thread->lane * 4);
                                LoadMatrix(4, false, address, out, SITE, HERE);
                              }),
                 "race: ");
}

}  // namespace
}  // namespace cuda_emulator
