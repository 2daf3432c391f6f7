// For the tests of races: all of them run under every schedule (race_test.cc instantiates them).
#pragma once

#include <utility>

#include <gtest/gtest.h>

#include "tests/cuda_emulator/runtime/tests/launch.h"

namespace cuda_emulator {

inline void Barrier(Where where) {
  static const char site = 0;
  BarrierSyncAt(0, 0, &site, where);
}

inline uint32_t AtomicAdd(uint32_t* pointer, uint32_t value, Where where) {
  CheckAtomic(pointer, 4, where);
  return std::exchange(*pointer, *pointer + value);
}

class Races : public testing::TestWithParam<ScheduleKind> {
 protected:
  void SetUp() override { SetSchedule({.kind = GetParam(), .seed = 9}); }
  void TearDown() override { SetSchedule({}); }
};
using CleanRuns = Races;

}  // namespace cuda_emulator
