// Races between the threads of a block, and correct code in which none is found.
#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/tests/races.h"

namespace cuda_emulator {
namespace {

INSTANTIATE_TEST_SUITE_P(Schedules, Races, testing::ValuesIn(kAllSchedules));
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

}  // namespace
}  // namespace cuda_emulator
