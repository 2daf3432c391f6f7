// Races between the blocks of a launch, and of cp.async; and correct code in which none is found.
#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/access_ids.h"
#include "tests/cuda_emulator/runtime/tests/races.h"

namespace cuda_emulator {
namespace {

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

TEST_P(Races, AreFoundAfterIdsHaveStartedAnew) {
  auto* words = DeviceArrayOf<uint32_t>(std::vector<uint32_t>(64));
  for (int launch = 0; launch < 3; ++launch) {
    LaunchShadow(
        {.blocks = 4, .threads = 64}, [](const std::byte* p) { LOAD(Argument<uint32_t>(p) + ThreadIndex() % 4); },
        words);
    AccessIds::Get().BeginLaunch(0);
  }
  EXPECT_FAILURE(LaunchShadow(
                     {.blocks = 4, .threads = 64},
                     [](const std::byte* p) {
                       LOAD(Argument<uint32_t>(p) + ThreadIndex() % 4);
                       if (ThreadIndex() == 9) STORE(Argument<uint32_t>(p), 1u);
                     },
                     words),
                 "race: ");
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
