// A decode step makes no system call but those of its compute threads' barrier, and waits for no lock: a mutex that is
// held elsewhere would be a futex beside the barrier's.
#include <map>
#include <memory>
#include <optional>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/thread_pool.h"
#include "engine/step/engine.h"
#include "engine/step/model_executor.h"
#include "kernels/backend.h"
#include "tests/support/load_directory.h"
#include "tests/support/or_die.h"
#include "tests/support/system_calls.h"

namespace latentd {
namespace {

constexpr int kThreads = 2, kStreams = 8, kWarmSteps = 20, kSteps = 100;
constexpr int kContext = 256;
constexpr int kMostRegions = (5 + 1) * 30;  // of a step: the bundled model has 5 layers, and what is around them

// The bundled model, from the plan to the output, on the CPU.
class Decode {
 public:
  Decode() {
    const int num_blocks = 1 + kStreams * BlocksFor(kContext);
    const ModelLimits limits = {.num_blocks = num_blocks,
                                .max_tokens = 64,
                                .max_rows = kStreams,
                                .max_logit_rows = kStreams,
                                .max_context = kContext};
    model_ = LoadDirectory("models/tiny-tales", limits, *backend_.device, *backend_.ops);
    executor_ = std::make_unique<ModelExecutor>(*model_, backend_);
    const EngineOptions options = {.scheduler = {.cache = {.num_blocks = num_blocks},
                                                 .max_step_tokens = limits.max_tokens,
                                                 .max_step_rows = kStreams,
                                                 .max_step_logits = kStreams,
                                                 .max_context_tokens = kContext},
                                   .vocabulary = {.eos_ids = {}}};
    engine_ = std::make_unique<Engine>(*executor_, options, metrics_);
    for (RequestId id = 1; id <= kStreams; ++id) {
      Request request{.id = id, .prompt = {5, 6, 7}};
      request.sampling = {.temperature = 0.8f, .top_p = 0.95f, .seed = id};
      request.stopping = {.max_tokens = kContext - 3, .ignore_eos = true};
      CHECK(engine_->Add(std::move(request)).ok());
    }
    for (int i = 0; i < kWarmSteps; ++i) Step();  // all have begun, and buffers have grown to their sizes
    CHECK_EQ(output_.num_rows, kStreams);
  }

  void Step() {
    std::optional<StepInFlight> step = engine_->Begin(clock_.Now());
    CHECK(step.has_value());
    engine_->Complete(*std::move(step), clock_, output_);
  }

 private:
  const SteadyClock clock_;
  Backend backend_ = OrDie(MakeCpuBackend(kThreads));
  Metrics metrics_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  StepOutput output_;
};

template <class Between>
std::optional<SystemCalls> CallsOfSteps(const Between& between) {
  return TraceSystemCalls([&] {
    Decode decode;
    BeginCounting();
    for (int i = 0; i < kSteps; ++i) {
      decode.Step();
      between();
    }
    EndCounting();
  });
}

// The barrier: parking and waking, letting others go first, asking whether a thread lost its core.
bool IsOfBarrier(uint64_t number) {
  return number == SYS_futex || number == SYS_getrusage || number == SYS_sched_yield;
}

TEST(StepSystemCalls, OnlyTheBarrierMakesAny) {
  const std::optional<SystemCalls> calls = CallsOfSteps([] {});
  if (!calls) GTEST_SKIP() << "the system lets no process be traced (ptrace)";
  ASSERT_EQ(calls->exit_code, 0);
  for (const auto& [number, count] : calls->counts) {
    EXPECT_TRUE(IsOfBarrier(number)) << count << " calls of number " << number << " in " << kSteps << " steps";
  }
  const auto futexes = calls->counts.find(SYS_futex);
  if (futexes == calls->counts.end()) return;  // each thread found each region as it watched
  EXPECT_LT(calls->last_futex - calls->first_futex, sizeof(ThreadPool)) << "a lock beside the barrier's words";
  // For each region the caller wakes and parks once, a thread parks, wakes and rests once.
  EXPECT_LE(futexes->second, kSteps * kMostRegions * (2 + 3 * (kThreads - 1)));
}

TEST(StepSystemCalls, AnyOtherIsSeen) {
  const std::optional<SystemCalls> calls = CallsOfSteps([] { syscall(SYS_getuid); });
  if (!calls) GTEST_SKIP() << "the system lets no process be traced (ptrace)";
  ASSERT_EQ(calls->exit_code, 0);
  EXPECT_EQ(calls->counts.at(SYS_getuid), kSteps);
}

}  // namespace
}  // namespace latentd
