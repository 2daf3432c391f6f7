// Fibers, schedules, barriers, warp operations: without shadow.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/tests/launch.h"

namespace cuda_emulator {
namespace {

class EverySchedule : public testing::TestWithParam<ScheduleKind> {
 protected:
  void SetUp() override { SetSchedule({.kind = GetParam(), .seed = 7}); }
  void TearDown() override { SetSchedule({}); }
};
INSTANTIATE_TEST_SUITE_P(Schedules, EverySchedule, testing::ValuesIn(kAllSchedules));

TEST_P(EverySchedule, EveryThreadOfEveryBlockRunsOnce) {
  constexpr uint32_t kBlocks = 5, kThreads = 100;
  auto* counts = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(kBlocks * kThreads));
  LaunchPlain(
      {.blocks = kBlocks, .threads = kThreads},
      [](const std::byte* p) { ++Argument<uint32_t>(p)[ctaid.x * ntid.x + current_thread->tid.x]; }, counts);
  EXPECT_TRUE(std::all_of(counts, counts + kBlocks * kThreads, [](uint32_t count) { return count == 1; }));
}

TEST_P(EverySchedule, BarriersSeparatePhasesOfAReduction) {
  constexpr uint32_t kBlocks = 9, kThreads = 256;
  auto* sums = DeviceArray<uint32_t>(kBlocks);
  LaunchPlain(
      {.blocks = kBlocks, .threads = kThreads},
      [](const std::byte* p) {
        auto* values = SharedArray<uint32_t>();
        const uint32_t i = ThreadIndex();
        values[i] = i + ctaid.x;
        for (uint32_t half = ntid.x / 2; half > 0; half /= 2) {
          SYNC_THREADS();
          if (i < half) values[i] += values[i + half];
        }
        if (i == 0) Argument<uint32_t>(p)[ctaid.x] = values[0];
      },
      sums);
  for (uint32_t block = 0; block < kBlocks; ++block) {
    EXPECT_EQ(sums[block], kThreads * (kThreads - 1) / 2 + block * kThreads) << block;
  }
}

TEST_P(EverySchedule, NamedBarriersServeHalvesOfABlock) {
  auto* sums = DeviceArray<uint32_t>(2);
  LaunchPlain(
      {.threads = 128},
      [](const std::byte* p) {
        auto* values = SharedArray<uint32_t>();
        const uint32_t i = ThreadIndex(), half = i / 64;
        for (uint32_t round = 0; round < 10; ++round) {
          values[i] = i + round;
          BarrierSyncAt(1 + half, 64, SITE, HERE);
          const uint32_t sum = std::accumulate(values + half * 64, values + half * 64 + 64, 0u);
          BarrierSyncAt(1 + half, 64, SITE, HERE);
          if (i % 64 == 0) Argument<uint32_t>(p)[half] = sum;
        }
      },
      sums);
  EXPECT_EQ(sums[0], 63u * 64 / 2 + 9 * 64);
  EXPECT_EQ(sums[1], 63u * 64 / 2 + 64 * 64 + 9 * 64);
}

TEST_P(EverySchedule, ExchangeGivesEverybodysBytes) {
  auto* wrong = DeviceArrayOf<uint32_t>({0});
  LaunchPlain(
      {.blocks = 3, .threads = 96},
      [](const std::byte* p) {
        for (uint32_t round = 0; round < 20; ++round) {
          const uint32_t mine[3] = {current_thread->lane, round, current_thread->warp};
          uint32_t all[32][3];
          WarpExchange(kFullMask, SITE, mine, sizeof mine, all, HERE);
          for (uint32_t lane = 0; lane < 32; ++lane) {
            const bool right = all[lane][0] == lane && all[lane][1] == round && all[lane][2] == current_thread->warp;
            *Argument<uint32_t>(p) += right ? 0 : 1;
          }
        }
      },
      wrong);
  EXPECT_EQ(*wrong, 0u);
}

TEST_P(EverySchedule, PartsOfAWarpMeetSeparately) {
  auto* counts = DeviceArray<uint32_t>(32);
  LaunchPlain(
      {},
      [](const std::byte* p) {
        const uint32_t lane = current_thread->lane;
        const uint32_t mask = lane < 8 ? 0xFFu : 0xFFFFFF00u;
        uint32_t votes = 0;
        for (uint32_t round = 0; round < (lane < 8 ? 5u : 3u); ++round)
          votes += Ballot(lane % 2 != 0, mask, SITE, HERE);
        Argument<uint32_t>(p)[lane] = votes;
      },
      counts);
  for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(counts[lane], lane < 8 ? 5 * 0xAAu : 3 * 0xAAAAAA00u) << lane;
}

TEST(Schedule, SameSeedGivesTheSameOrder) {
  static std::vector<uint32_t> order;
  const auto run = [](uint64_t seed) {
    SetSchedule({.kind = ScheduleKind::kRandomThread, .seed = seed});
    order.clear();
    LaunchPlain({.blocks = 4, .threads = 64}, [](const std::byte*) { order.push_back(ctaid.x * 64 + ThreadIndex()); });
    SetSchedule({});
    return order;
  };
  const auto first = run(3);
  EXPECT_EQ(run(3), first);
  EXPECT_NE(run(4), first);
}

TEST(Schedule, InOrderAndReverseAreOpposites) {
  static std::vector<uint32_t> order;
  const auto run = [](ScheduleKind kind) {
    SetSchedule({.kind = kind});
    order.clear();
    LaunchPlain({.blocks = 2, .threads = 64}, [](const std::byte*) { order.push_back(ctaid.x * 64 + ThreadIndex()); });
    SetSchedule({});
    return order;
  };
  std::vector<uint32_t> ascending(128);
  std::iota(ascending.begin(), ascending.end(), 0u);
  EXPECT_EQ(run(ScheduleKind::kInOrder), ascending);
  std::reverse(ascending.begin(), ascending.end());
  EXPECT_EQ(run(ScheduleKind::kReverse), ascending);
}

TEST(Schedule, BlockMixHasSeveralBlocksUnderWay) {
  static uint32_t under_way, most_under_way;
  SetSchedule({.kind = ScheduleKind::kRandomBlockMix, .seed = 5});
  under_way = most_under_way = 0;
  LaunchPlain({.blocks = 6, .threads = 32}, [](const std::byte*) {
    if (current_thread->lane == 0) most_under_way = std::max(most_under_way, ++under_way);
    for (int i = 0; i < 20; ++i) {
      *SharedArray<uint32_t>() = ctaid.x;
      WarpSync(kFullMask, HERE);
      if (*SharedArray<uint32_t>() != ctaid.x) Fail(HERE, "test", "blocks share their shared memory");
    }
    if (current_thread->lane == 0) --under_way;
  });
  SetSchedule({});
  EXPECT_GT(most_under_way, 1u);
}

TEST(Schedule, YieldLetsTheAwaitedThreadRun) {
  auto* flag = DeviceArrayOf<uint32_t>({0});
  for (const ScheduleKind kind : kAllSchedules) {
    SetSchedule({.kind = kind});
    *flag = 0;
    LaunchPlain(
        {.threads = 64},
        [](const std::byte* p) {
          auto* flag = Argument<volatile uint32_t>(p);
          while (ThreadIndex() != 40 && *flag == 0) Yield();
          *flag = 1;
        },
        flag);
  }
  SetSchedule({});
  EXPECT_EQ(*flag, 1u);
}

struct ShuffleCase {
  int mode;
  uint32_t operand, clamp;
  std::vector<uint32_t> sources;  // of lanes 0, 1, ... as far as given
  std::vector<bool> valid;
};

class ShuffleModes : public testing::TestWithParam<ShuffleCase> {};

TEST_P(ShuffleModes, ReadTheLaneThatTheManualSays) {
  static const ShuffleCase* shuffle;
  static uint32_t sources[32];
  static bool valid[32];
  shuffle = &GetParam();
  LaunchPlain({}, [](const std::byte*) {
    const uint32_t lane = current_thread->lane;
    sources[lane] = Shuffle(shuffle->mode, lane, shuffle->operand, shuffle->clamp, kFullMask, &valid[lane], SITE, HERE);
  });
  for (size_t lane = 0; lane < shuffle->sources.size(); ++lane) {
    EXPECT_EQ(sources[lane], shuffle->sources[lane]) << lane;
    EXPECT_EQ(valid[lane], shuffle->valid[lane]) << lane;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Modes, ShuffleModes,
    testing::Values(ShuffleCase{kShuffleUp, 2, 0, {0, 1, 0, 1, 2}, {false, false, true, true, true}},
                    ShuffleCase{kShuffleDown,
                                1,
                                0x181F,
                                {1, 2, 3, 4, 5, 6, 7, 7, 9},  // segments of 8
                                {true, true, true, true, true, true, true, false, true}},
                    ShuffleCase{kShuffleButterfly, 16, 0x1F, {16, 17, 18}, {true, true, true}},
                    ShuffleCase{kShuffleIndex, 5, 0x1F, {5, 5, 5}, {true, true, true}},
                    ShuffleCase{kShuffleIndex, 5, 0x1C03, {1, 1, 1, 1, 5, 5}, {true, true, true, true, true, true}}));

TEST(BarrierFailure, DifferentPlacesOfOneBlock) {
  EXPECT_FAILURE(
      LaunchPlain({.threads = 64},
                  [](const std::byte*) {
                    if (current_thread->warp == 0) {
                      SYNC_THREADS();
                    } else {
                      SYNC_THREADS();
                    }
                  }),
      "^cuda emulator: barrier: .*threads_test.cc:[0-9]+: threads of one block meet in barrier 0 at different "
      "places: 32 wait at .*threads_test.cc:[0-9]+ \\[kernel test::Kernel block 0,0,0 thread 32,0,0\\]\n$");
}

TEST(BarrierFailure, LinesAreSitesWithoutAnObject) {
  EXPECT_FAILURE(LaunchPlain({.threads = 64},
                             [](const std::byte*) {
                               if (current_thread->warp == 0) BarrierSync(0, 0, HERE);
                               if (current_thread->warp == 1) BarrierSync(0, 0, HERE);
                             }),
                 "barrier: .*at different places");
}

TEST(BarrierFailure, ExitBeforeAndAfterOthersWait) {
  for (const ScheduleKind kind : {ScheduleKind::kInOrder, ScheduleKind::kReverse}) {
    SetSchedule({.kind = kind});
    EXPECT_FAILURE(LaunchPlain({.threads = 64},
                               [](const std::byte*) {
                                 if (current_thread->warp == 0) SYNC_THREADS();
                               }),
                   "barrier: .*(after 32 of its threads have exited|exits while 32 others wait)");
  }
  SetSchedule({});
}

TEST(BarrierFailure, DifferentCounts) {
  EXPECT_FAILURE(
      LaunchPlain({.threads = 128},
                  [](const std::byte*) { BarrierSyncAt(1, current_thread->warp < 2 ? 64 : 96, SITE, HERE); }),
      "barrier: |deadlock: ");
  EXPECT_FAILURE(
      LaunchPlain({.threads = 128},
                  [](const std::byte*) { BarrierSyncAt(1, current_thread->warp == 0 ? 64 : 96, SITE, HERE); }),
      "barrier: .*waits for 96 threads here and for 64 at");
}

TEST(BarrierFailure, ImpossibleCountsAndNames) {
  EXPECT_FAILURE(LaunchPlain({.threads = 64}, [](const std::byte*) { BarrierSyncAt(0, 96, SITE, HERE); }),
                 "barrier: .*waits for 96 threads, the block has 64");
  EXPECT_FAILURE(LaunchPlain({.threads = 64}, [](const std::byte*) { BarrierSyncAt(0, 40, SITE, HERE); }),
                 "barrier: .*no multiple of 32");
  EXPECT_FAILURE(LaunchPlain({.threads = 64}, [](const std::byte*) { BarrierSyncAt(16, 64, SITE, HERE); }),
                 "barrier: .*there are 16");
}

TEST(Deadlock, SaysHowManyThreadsWaitWhere) {
  EXPECT_FAILURE(LaunchPlain({.threads = 96},
                             [](const std::byte*) {
                               if (current_thread->warp == 0) BarrierSyncAt(1, 64, SITE, HERE);
                               if (current_thread->warp == 1) BarrierSyncAt(2, 64, SITE, HERE);
                             }),
                 "deadlock: .*32 threads have exited, 32 threads wait at barrier 1 \\(.*threads_test.cc:[0-9]+\\), 32 "
                 "threads wait at barrier 2");
}

TEST(Deadlock, ASpinThatNooneEndsIsFound) {
  EXPECT_FAILURE(LaunchPlain({.threads = 1},
                             [](const std::byte*) {
                               for (;;) Yield();
                             }),
                 "deadlock: .*spins");
}

TEST(WarpFailure, DifferentMasks) {
  EXPECT_FAILURE(
      LaunchPlain({}, [](const std::byte*) { WarpSync(current_thread->lane < 16 ? kFullMask : 0xFFFF8000u, HERE); }),
      "warp: .*lane 16 comes to a sync with the mask ffff8000 while lanes 0000ffff wait in a sync with the "
      "mask ffffffff");
}

TEST(WarpFailure, LanesThatTheOthersWaitForInVain) {
  EXPECT_FAILURE(
      LaunchPlain({}, [](const std::byte*) { WarpSync(current_thread->lane < 16 ? kFullMask : 0xFFFF0000u, HERE); }),
      "warp: .*lane [0-9]+ exits while lanes 0000ffff wait for it in a sync with the mask ffffffff");
}

TEST(WarpFailure, DifferentOperations) {
  EXPECT_FAILURE(LaunchPlain({},
                             [](const std::byte*) {
                               if (current_thread->lane < 16) {
                                 WarpSync(kFullMask, HERE);
                               } else {
                                 Ballot(true, kFullMask, SITE, HERE);
                               }
                             }),
                 "warp: .*comes to a ballot .* wait in a sync");
}

TEST(WarpFailure, DifferentPlaces) {
  EXPECT_FAILURE(LaunchPlain({},
                             [](const std::byte*) {
                               if (current_thread->lane < 16) {
                                 Ballot(true, kFullMask, SITE, HERE);
                               } else {
                                 Ballot(true, kFullMask, SITE, HERE);
                               }
                             }),
                 "warp: .*comes to a ballot .* wait in a ballot");
}

TEST(WarpFailure, ExitedLane) {
  for (const ScheduleKind kind : {ScheduleKind::kInOrder, ScheduleKind::kReverse}) {
    SetSchedule({.kind = kind});
    EXPECT_FAILURE(LaunchPlain({},
                               [](const std::byte*) {
                                 if (current_thread->lane < 20) WarpSync(kFullMask, HERE);
                               }),
                   "warp: .*(lane 20 exits while lanes 000fffff wait for it|names lanes fff00000, which have exited)");
  }
  SetSchedule({});
}

TEST(WarpFailure, LaneOutsideItsMaskOrTheBlock) {
  EXPECT_FAILURE(LaunchPlain({}, [](const std::byte*) { WarpSync(0xFFFF, HERE); }), "warp: .*not in its own mask");
  EXPECT_FAILURE(LaunchPlain({.threads = 40}, [](const std::byte*) { WarpSync(kFullMask, HERE); }),
                 "warp: .*names lanes ffffff00, which don't exist");
}

TEST(WarpFailure, ShuffleFromOutsideTheMask) {
  EXPECT_FAILURE(LaunchPlain({},
                             [](const std::byte*) {
                               if (current_thread->lane < 16) {
                                 Shuffle(kShuffleIndex, 1, 20, 0x1F, 0xFFFF, nullptr, SITE, HERE);
                               }
                             }),
                 "warp: .*reads lane 20, which is not in the mask 0000ffff");
}

TEST(Failure, TrapNamesKernelBlockAndThread) {
  EXPECT_FAILURE(LaunchPlain({.blocks = 3, .threads = 64},
                             [](const std::byte*) {
                               if (ctaid.x == 2 && ThreadIndex() == 33) Fail({"rows.cu", 17}, "trap", "trap");
                             }),
                 "^cuda emulator: trap: rows.cu:17: trap \\[kernel test::Kernel block 2,0,0 thread 33,0,0\\]\n$");
}

TEST(Failure, NamesOfKernelsAreShort) {
  EXPECT_FAILURE(
      {
        const LaunchShape shape = {.threads = 1};
        Kernel kernel = MakeKernel([](const std::byte*) { Fail(HERE, "trap", "trap"); }, shape, false);
        // void latentd::(anonymous namespace)::Rows<1>(latentd::(anonymous namespace)::Arguments)
        kernel.name = "_ZN7latentd12_GLOBAL__N_14RowsILi1EEEvNS0_9ArgumentsE";
        RunKernel(kernel, shape, nullptr);
      },
      "\\[kernel latentd::Rows<1> block 0,0,0 thread 0,0,0\\]\n$");
}

TEST(Failure, WildAccessOfAPlainModuleIsAFault) {
  auto* array = DeviceArray<float>(1024);
  EXPECT_FAILURE(LaunchPlain(
                     {}, [](const std::byte* p) { Argument<volatile float>(p)[3000] = 1; }, array),
                 "fault: .*not mapped.*kernel test::Kernel");
}

TEST(Failure, AlignmentOfPlainModules) {
  EXPECT_FAILURE(LaunchPlain({}, [](const std::byte*) { CheckAlignment(0x1004, 8, HERE); }),
                 "misaligned: .*0x1004 is not a multiple of 8");
}

TEST(Threads, DimensionsCountXFirst) {
  static std::vector<Dim3> seen;
  seen.clear();
  const LaunchShape shape;
  const Kernel kernel = MakeKernel(
      [](const std::byte*) {
        if (current_thread->lane + 32 * current_thread->warp != ThreadIndex()) Fail(HERE, "test", "lanes");
        seen.push_back(current_thread->tid);
      },
      shape, false);
  RunGrid(kernel, {}, {.x = 5, .y = 3, .z = 4}, 0, nullptr);
  ASSERT_EQ(seen.size(), 60u);
  EXPECT_EQ(seen[1].x, 1u);
  EXPECT_EQ(seen[7].x, 2u);
  EXPECT_EQ(seen[7].y, 1u);
  EXPECT_EQ(seen[59].z, 3u);
}

}  // namespace
}  // namespace cuda_emulator
