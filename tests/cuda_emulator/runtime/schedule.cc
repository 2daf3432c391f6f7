#include "tests/cuda_emulator/runtime/schedule.h"

#include <cstdlib>
#include <cstring>

#include "tests/cuda_emulator/runtime/failure.h"

namespace cuda_emulator {
namespace {

template <typename Value>
struct Choice {
  const char* name;
  Value value;
};

constexpr Choice<ScheduleKind> kScheduleKinds[] = {{"in-order", ScheduleKind::kInOrder},
                                                   {"reverse", ScheduleKind::kReverse},
                                                   {"random-thread", ScheduleKind::kRandomThread},
                                                   {"random-warp", ScheduleKind::kRandomWarp},
                                                   {"random-block-mix", ScheduleKind::kRandomBlockMix}};
constexpr Choice<AsyncCompletion> kAsyncCompletions[] = {
    {"early", AsyncCompletion::kEarly}, {"late", AsyncCompletion::kLate}, {"random", AsyncCompletion::kRandom}};

template <typename Value, size_t kCount>
void ReadChoice(const char* variable, const Choice<Value> (&choices)[kCount], Value* value) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return;
  for (const auto& choice : choices) {
    if (std::strcmp(choice.name, text) == 0) {
      *value = choice.value;
      return;
    }
  }
  Fail(CUDA_EMULATOR_HERE, "host", "%s=%s is not a known choice", variable, text);
}

Schedule ScheduleFromEnvironment() {
  Schedule schedule;
  ReadChoice("CUDA_EMULATOR_SCHEDULE", kScheduleKinds, &schedule.kind);
  ReadChoice("CUDA_EMULATOR_ASYNC", kAsyncCompletions, &schedule.async);
  if (const char* seed = std::getenv("CUDA_EMULATOR_SEED")) schedule.seed = std::strtoull(seed, nullptr, 10);
  return schedule;
}

uint64_t random_state = 0;

void Seed(uint64_t seed) {
  random_state = seed * 0x9E3779B97F4A7C15ull + 1;
  for (int i = 0; i < 8; ++i) Random();
}

Schedule& MutableSchedule() {
  static Schedule schedule = [] {
    const Schedule from_environment = ScheduleFromEnvironment();
    Seed(from_environment.seed);
    return from_environment;
  }();
  return schedule;
}

}  // namespace

const Schedule& CurrentSchedule() { return MutableSchedule(); }

void SetSchedule(const Schedule& schedule) {
  MutableSchedule() = schedule;
  Seed(schedule.seed);
}

uint32_t Random() {
  if (random_state == 0) CurrentSchedule();
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<uint32_t>(random_state >> 16);
}

}  // namespace cuda_emulator
