#include "server/process/stall_watch.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/loop/engine_thread.h"
#include "engine/loop/publisher_thread.h"
#include "tests/engine/step/engine_harness.h"
#include "tests/engine/stream/stream_reader.h"

namespace latentd {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

TimePoint At(int second) { return TimePoint(seconds(1000 + second)); }

TEST(StallRule, WorkWithoutAStepIsAStallAfterThePatience) {
  StepProgress progress;
  progress.Begin();
  StallRule rule(progress, 10, At(0));
  EXPECT_EQ(rule.Check(At(9)), EngineHealth::kMoving);
  EXPECT_EQ(rule.Check(At(10)), EngineHealth::kStalled);
  EXPECT_EQ(rule.Check(At(50)), EngineHealth::kStalled);
  progress.FinishStep();
  EXPECT_EQ(rule.Check(At(51)), EngineHealth::kMoving);
  EXPECT_EQ(rule.Check(At(61)), EngineHealth::kStalled);
}

TEST(StallRule, EngineWithoutWorkNeverStalls) {
  StepProgress progress;
  progress.Rest();
  StallRule rule(progress, 10, At(0));
  EXPECT_EQ(rule.Check(At(1000)), EngineHealth::kMoving);
  progress.Begin();
  EXPECT_EQ(rule.Check(At(1009)), EngineHealth::kMoving);
  EXPECT_EQ(rule.Check(At(1010)), EngineHealth::kStalled);
}

// A model that hangs in one step until it is let go, under the real engine thread.
class HangingEngine {
 public:
  HangingEngine() {
    const EngineOptions options = SmallEngine();
    FakeExecutorOptions executor{.num_blocks = options.scheduler.cache.num_blocks};
    executor.on_launch = [this](const BatchInputs&, std::span<const SampleRow>) { Await([this] { return goes_on_; }); };
    executor_ = std::make_unique<FakeExecutor>(executor);
    thread_ = std::make_unique<EngineThread>(std::make_unique<Engine>(*executor_, options, metrics_), publisher_,
                                             clock_, QueueLoad{.requests = 10, .tokens = 1000});
  }
  ~HangingEngine() { LetGo(); }

  void LetGo() {
    std::lock_guard lock(mutex_);
    goes_on_ = true;
    changed_.notify_all();
  }
  void See(EngineHealth health) {
    std::lock_guard lock(mutex_);
    seen_.push_back(health);
    changed_.notify_all();
  }
  // What the watch said until it said so often.
  std::vector<EngineHealth> AwaitSeen(size_t count) {
    Await([this, count] { return seen_.size() >= count; });
    std::lock_guard lock(mutex_);
    return seen_;
  }

  SteadyClock clock_;
  Metrics metrics_;
  PublisherThread publisher_{nullptr, metrics_};
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<EngineThread> thread_;

 private:
  template <class Condition>
  void Await(const Condition& condition) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::minutes(1), condition);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool goes_on_ = false;
  std::vector<EngineHealth> seen_;
};

TEST(StallWatch, EngineThatHangsInAStepIsSeenOnceAndForgivenWhenItGoesOn) {
  HangingEngine hanging;
  Client client;
  Request request = MakeRequest(hanging.thread_->NextRequestId(), MakePrompt(10), 3);
  request.received = hanging.clock_.Now();
  {
    StallWatch watch(hanging.thread_->progress(), hanging.clock_, hanging.metrics_,
                     {.stall_seconds = 0.02, .on_change = [&](EngineHealth health) { hanging.See(health); }});
    ASSERT_FALSE(hanging.thread_->Submit(std::move(request), client.stream).has_value());
    EXPECT_THAT(hanging.AwaitSeen(1), ElementsAre(EngineHealth::kStalled));
    EXPECT_EQ(hanging.metrics_.Snapshot().engine_stalls, 1u);
    EXPECT_EQ(hanging.metrics_.Snapshot().state, ServerState::kStalled);
    hanging.LetGo();
    EXPECT_EQ(hanging.AwaitSeen(2).at(1), EngineHealth::kMoving);
  }
  client.reader.ReadToEnd(*client.stream);
}

}  // namespace
}  // namespace latentd
