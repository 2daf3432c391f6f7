// The shadow's reports on single accesses: initialisation, bounds, freed memory, alignment, host memory.
#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/tests/launch.h"

namespace cuda_emulator {
namespace {

void LoadFloat(const std::byte* p) { LOAD(Argument<float>(p)); }
void StoreFloat(const std::byte* p) { STORE(Argument<float>(p), 1.0f); }

constexpr LaunchShape kOneThread = {.threads = 1};

TEST(DeviceMemory, IsPoisonAndUninitialisedUntilWritten) {
  auto* array = DeviceArray<uint32_t>(4);
  EXPECT_EQ(array[3], ~0u);
  EXPECT_EQ(FirstUninitialised(array, 16), 0u);
  MarkInitialised(array, 8);
  EXPECT_EQ(FirstUninitialised(array, 16), 8u);
  EXPECT_FAILURE(LaunchShadow(kOneThread, LoadFloat, array + 2),
                 "uninitialised: .*memory_test.cc:[0-9]+: load of 4 bytes at .*no one has written byte 0");
  LaunchShadow(kOneThread, LoadFloat, array + 1);
}

TEST(DeviceMemory, EveryByteOfAVectorCounts) {
  struct alignas(16) Vector {
    uint32_t words[4];
  };
  auto* array = DeviceArray<Vector>(1);
  MarkInitialised(array, 13);
  EXPECT_FAILURE(LaunchShadow(
                     kOneThread, [](const std::byte* p) { LOAD(Argument<Vector>(p)); }, array),
                 "uninitialised: .*load of 16 bytes .*byte 13");
}

TEST(DeviceMemory, KernelsStoresInitialise) {
  auto* array = DeviceArray<float>(1);
  LaunchShadow(kOneThread, StoreFloat, array);
  LaunchShadow(kOneThread, LoadFloat, array);
  EXPECT_EQ(FirstUninitialised(array, 4), 4u);
}

TEST(DeviceMemory, CopiesCarryTheShadow) {
  auto* from = DeviceArray<float>(2);
  auto* to = DeviceArray<float>(2);
  MarkInitialised(from, 4);
  MarkInitialised(to, 8);
  CopyShadow(to, from, 8);
  EXPECT_EQ(FirstUninitialised(to, 8), 4u);
}

TEST(DeviceMemory, AfterAPlainKernelEverythingCountsAsWritten) {
  auto* array = DeviceArray<float>(1);
  LaunchPlain(kOneThread, StoreFloat, array);
  LaunchShadow(kOneThread, LoadFloat, array);
}

TEST(DeviceMemory, AtomicsReadWhatTheyChange) {
  auto* array = DeviceArray<uint32_t>(1);
  EXPECT_FAILURE(LaunchShadow(
                     kOneThread, [](const std::byte* p) { CheckAtomic(Argument<uint32_t>(p), 4, HERE); }, array),
                 "uninitialised: ");
}

TEST(DeviceMemory, AccessesPastAnAllocationAreOutOfBounds) {
  auto* array = DeviceArrayOf<float>({1, 2, 3});
  EXPECT_FAILURE(LaunchShadow(kOneThread, LoadFloat, array + 3),
                 "out-of-bounds: .*load of 4 bytes at byte 12 of an allocation of 12 bytes");
  EXPECT_FAILURE(LaunchShadow(kOneThread, StoreFloat, array + 3), "out-of-bounds: .*store of 4 bytes at byte 12");
  EXPECT_FAILURE(LaunchShadow(kOneThread, StoreFloat, array + 100000), "out-of-bounds: ");
  EXPECT_FAILURE(LaunchShadow(kOneThread, LoadFloat, nullptr), "out-of-bounds: .*\\(nil\\)");
}

TEST(DeviceMemory, AVectorMayNotReachPastTheEnd) {
  auto* array = DeviceArrayOf<float>({1, 2, 3});
  EXPECT_FAILURE(LaunchShadow(
                     kOneThread, [](const std::byte* p) { CheckLoad(Argument<float>(p), 16, HERE); }, array),
                 "out-of-bounds: .*load of 16 bytes at byte 0 of an allocation of 12 bytes");
}

TEST(DeviceMemory, FreedMemoryIsNamedAsSuch) {
  auto* array = DeviceArrayOf<float>({1, 2, 3});
  FreeDevice(array);
  EXPECT_FAILURE(LaunchShadow(kOneThread, LoadFloat, array), "freed: .*load of 4 bytes");
  EXPECT_FAILURE(LaunchShadow(kOneThread, StoreFloat, array), "freed: .*store of 4 bytes");
}

TEST(DeviceMemory, MisalignedAccessesFail) {
  auto* array = DeviceArrayOf<float>({1, 2, 3});
  EXPECT_FAILURE(LaunchShadow(
                     kOneThread, [](const std::byte* p) { CheckLoad(Argument<float>(p) + 1, 8, HERE); }, array),
                 "misaligned: .*not a multiple of 8");
}

TEST(DeviceMemory, HostPointersAreNotDeviceMemory) {
  static float on_heap[1] = {};
  EXPECT_FAILURE(LaunchShadow(kOneThread, LoadFloat, on_heap), "host-pointer: .*which is no device memory");
  EXPECT_FAILURE(LaunchShadow(kOneThread, StoreFloat, on_heap), "host-pointer: ");
}

TEST(DeviceMemory, RangesAndAllocationsAreKnown) {
  auto* array = DeviceArray<float>(10);
  EXPECT_TRUE(IsDeviceRange(array + 2, 32));
  EXPECT_FALSE(IsDeviceRange(array + 2, 33));
  EXPECT_TRUE(IsAllocation(array));
  EXPECT_FALSE(IsAllocation(array + 1));
  FreeDevice(array);
  EXPECT_FALSE(IsDeviceRange(array, 4));
  EXPECT_FALSE(IsAllocation(array));
}

TEST(DeviceMemory, FreeingGivesTheRoomBack) {
  const uint64_t before = DeviceBytesFree();
  void* first = AllocateDevice(1 << 20);
  void* second = AllocateDevice(5000);
  EXPECT_LT(DeviceBytesFree(), before - (1 << 20));
  FreeDevice(first);
  FreeDevice(second);
  EXPECT_EQ(DeviceBytesFree(), before);
  EXPECT_EQ(AllocateDevice(DeviceBytesTotal()), nullptr);
  void* almost_all = AllocateDevice(1 << 20);
  EXPECT_NE(almost_all, nullptr);
  FreeDevice(almost_all);
}

TEST(SharedMemory, IsUninitialisedInEveryBlock) {
  EXPECT_FAILURE(LaunchShadow({.blocks = 2, .threads = 1},
                              [](const std::byte*) {
                                if (ctaid.x == 0) STORE(SharedArray<float>(), 1.0f);
                                LOAD(SharedArray<float>());
                              }),
                 "uninitialised: .*block 1,0,0");
}

TEST(SharedMemory, BoundsAreThoseOfStaticAndDynamicArrays) {
  constexpr LaunchShape kShape = {.threads = 1, .static_shared_bytes = 100, .dynamic_shared_bytes = 64};
  LaunchShadow(kShape, [](const std::byte*) {
    STORE(SharedArray<float>(96), 1.0f);
    STORE(reinterpret_cast<float*>(DynamicShared() + 60), 1.0f);
  });
  EXPECT_FAILURE(LaunchShadow(kShape, [](const std::byte*) { STORE(SharedArray<float>(100), 1.0f); }),
                 "out-of-bounds: .*store of 4 bytes at byte 100 of the shared memory, past its arrays");
  EXPECT_FAILURE(LaunchShadow(kShape, [](const std::byte*) { LOAD(reinterpret_cast<float*>(DynamicShared() + 64)); }),
                 "out-of-bounds: ");
  EXPECT_FAILURE(LaunchShadow(kShape, [](const std::byte*) { LOAD(SharedArray<float>(512 << 10)); }),
                 "out-of-bounds: ");
}

TEST(SharedMemory, LiesBelowFourGibAndAligned) {
  LaunchPlain({.threads = 1, .static_shared_bytes = 100, .dynamic_shared_bytes = 64}, [](const std::byte*) {
    const auto base = reinterpret_cast<uintptr_t>(SharedBase());
    if (base >> 32 != 0 || base % (1 << 20) != 0) Fail(HERE, "test", "base");
    if (reinterpret_cast<uintptr_t>(DynamicShared()) % 1024 != 0) Fail(HERE, "test", "dynamic");
    if (SharedPointer(SharedAddress(SharedBase())) != SharedBase()) Fail(HERE, "test", "address");
    float local = 0;
    if (!IsSharedAddress(SharedBase()) || IsSharedAddress(&local)) Fail(HERE, "test", "window");
  });
}

TEST(SharedMemory, MoreThanABlockMayHaveIsRefused) {
  EXPECT_FAILURE(LaunchPlain({.static_shared_bytes = 1024, .dynamic_shared_bytes = 227 << 10}, [](const std::byte*) {}),
                 "launch: .*at most 232448");
}

TEST(PrivateMemory, TheOwnStackAndTheParametersAreAlwaysReadable) {
  LaunchShadow(kOneThread, [](const std::byte* p) {
    float local[4] = {1, 2, 3, 4};
    LOAD(&local[2]);
    STORE(&local[2], 5.0f);
    LOAD(reinterpret_cast<const uint64_t*>(p));
  });
}

float scale_table[4] = {1, 2, 3, 4};
uint32_t counter = 0;
const Module kModule({MakeKernel(LoadFloat, kOneThread, true)},
                     {{"scale_table", scale_table, sizeof scale_table, true}, {"counter", &counter, 4, false}});

TEST(ModuleVariables, AreDeviceMemory) {
  ASSERT_NE(FindVariable("counter"), nullptr);
  EXPECT_EQ(FindVariable("counter")->address, &counter);
  EXPECT_EQ(FindVariable("nothing"), nullptr);
  EXPECT_TRUE(IsDeviceRange(scale_table, sizeof scale_table));
  LaunchShadow(kOneThread, LoadFloat, scale_table + 3);
  LaunchShadow(kOneThread, StoreFloat, &counter);
  counter = 0;
}

TEST(ModuleVariables, ConstantsCannotBeWritten) {
  EXPECT_FAILURE(LaunchShadow(kOneThread, StoreFloat, scale_table), "out-of-bounds: .*constant memory");
}

TEST(Modules, TheLastRegistrationOfAKernelWins) {
  const Kernel* first = FindKernel("_ZN4test6KernelEv");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->run, LoadFloat);
  const Module later({MakeKernel(StoreFloat, kOneThread, true)}, {});
  EXPECT_EQ(FindKernel("_ZN4test6KernelEv")->run, StoreFloat);
  EXPECT_EQ(FindKernel("_ZN4test7UnknownEv"), nullptr);
}

TEST(AsyncCopyShadow, DestinationIsUninitialisedUntilTheWait) {
  auto* input = DeviceArrayOf<uint32_t>({1, 2, 3, 4});
  for (const AsyncCompletion mode : {AsyncCompletion::kEarly, AsyncCompletion::kLate, AsyncCompletion::kRandom}) {
    SetSchedule({.async = mode});
    EXPECT_FAILURE(LaunchShadow(
                       kOneThread,
                       [](const std::byte* p) {
                         AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p), 16, 16, HERE);
                         AsyncCommit();
                         AsyncWait(1, HERE);  // one group too few
                         LOAD(SharedArray<uint32_t>());
                       },
                       input),
                   "uninitialised: .*a cp.async into them has not been waited for");
    EXPECT_FAILURE(LaunchShadow(
                       kOneThread,
                       [](const std::byte* p) {
                         AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p), 16, 16, HERE);
                         AsyncCommit();
                         STORE(SharedArray<uint32_t>(), 1u);
                       },
                       input),
                   "race: .*a cp.async into them has not been waited for");
  }
  SetSchedule({});
}

TEST(AsyncCopyShadow, UninitialisedSourcesStayUninitialised) {
  auto* input = DeviceArray<uint32_t>(4);
  MarkInitialised(input, 8);
  LaunchShadow(
      kOneThread,
      [](const std::byte* p) {
        AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p), 16, 16, HERE);
        AsyncCommit();
        AsyncWait(0, HERE);
        LOAD(SharedArray<uint32_t>() + 1);
      },
      input);
  EXPECT_FAILURE(LaunchShadow(
                     kOneThread,
                     [](const std::byte* p) {
                       AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p), 16, 16, HERE);
                       AsyncCommit();
                       AsyncWait(0, HERE);
                       LOAD(SharedArray<uint32_t>() + 2);
                     },
                     input),
                 "uninitialised: .*no one has written");
}

TEST(AsyncCopyShadow, SourceAndDestinationHaveBounds) {
  auto* input = DeviceArrayOf<uint32_t>({1, 2, 3, 4});
  EXPECT_FAILURE(
      LaunchShadow(
          kOneThread,
          [](const std::byte* p) { AsyncCopy(SharedAddress(SharedBase()), Argument<uint32_t>(p) + 4, 16, 16, HERE); },
          input),
      "out-of-bounds: .*cp.async of 16 bytes at byte 16 of an allocation of 16 bytes");
  EXPECT_FAILURE(LaunchShadow(
                     kOneThread,
                     [](const std::byte* p) {
                       AsyncCopy(SharedAddress(SharedBase()) + 4096, Argument<uint32_t>(p), 16, 16, HERE);
                     },
                     input),
                 "out-of-bounds: .*past its arrays");
}

TEST(LoadMatrixShadow, RowsMustBeInitialised) {
  EXPECT_FAILURE(LaunchShadow({},
                              [](const std::byte*) {
                                uint32_t out[4];
                                if (current_thread->lane != 9) {
                                  for (uint32_t i = 0; i < 4; ++i) {
                                    STORE(SharedArray<uint32_t>() + current_thread->lane * 4 + i, 0u);
                                  }
                                }
                                WarpSync(kFullMask, HERE);
                                const auto address = SharedAddress(SharedArray<uint32_t>() + current_thread->lane * 4);
                                LoadMatrix(4, false, address, out, SITE, HERE);
                              }),
                 "uninitialised: .*load of 16 bytes.*thread 9,0,0");
}

}  // namespace
}  // namespace cuda_emulator
