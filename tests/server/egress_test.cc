#include "server/egress.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

// Deletes itself on release, as a stream's reactor does.
struct Owner {
  Egress::Slot slot;
  std::promise<void> released;
  std::atomic<int> pumps = 0;
  std::function<void()> on_pump = [] {};

  explicit Owner(Egress& egress) {
    slot.pump = [this] {
      ++pumps;
      on_pump();
    };
    slot.release = [this] {
      std::promise<void> told = std::move(released);
      delete this;
      told.set_value();
    };
    egress.Attach(slot);
  }
};

TEST(Egress, WakePumpsOnAnEgressThread) {
  Egress egress(1);
  auto* owner = new Owner(egress);
  std::promise<std::thread::id> pumped;
  owner->on_pump = [&pumped] { pumped.set_value(std::this_thread::get_id()); };
  egress.Wake(owner->slot);
  EXPECT_NE(pumped.get_future().get(), std::this_thread::get_id());
  egress.Done(owner->slot);
}

TEST(Egress, ReleaseIsTheLastThing) {
  Egress egress(2);
  for (int i = 0; i < 100; ++i) {
    auto* owner = new Owner(egress);
    std::future<void> released = owner->released.get_future();
    std::thread waker([&egress, owner] {
      for (int k = 0; k < 20; ++k) egress.Wake(owner->slot);
      egress.Done(owner->slot);
    });
    waker.join();
    released.get();
  }
  EXPECT_TRUE(egress.AwaitEmpty(kNever));
}

TEST(Egress, ASlowPumpDoesNotDelayTheOtherThread) {
  Egress egress(2);
  auto* slow = new Owner(egress);
  auto* quick = new Owner(egress);
  std::promise<void> go_on, pumped;
  slow->on_pump = [&go_on] { go_on.get_future().wait(); };
  quick->on_pump = [&pumped] { pumped.set_value(); };
  egress.Wake(slow->slot);
  egress.Wake(quick->slot);
  pumped.get_future().get();
  go_on.set_value();
  egress.Done(slow->slot);
  egress.Done(quick->slot);
}

TEST(Egress, AlarmPumpsNotBeforeItsTime) {
  Egress egress(1);
  auto* owner = new Owner(egress);
  std::promise<TimePoint> pumped;
  owner->on_pump = [&pumped] { pumped.set_value(std::chrono::steady_clock::now()); };
  const TimePoint due = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  egress.WakeAt(owner->slot, due);
  EXPECT_GE(pumped.get_future().get(), due);
  egress.Done(owner->slot);
}

TEST(Egress, AlarmOfAReleasedSlotIsForgotten) {
  Egress egress(1);
  auto* owner = new Owner(egress);
  std::future<void> released = owner->released.get_future();
  egress.WakeAt(owner->slot, std::chrono::steady_clock::now() + std::chrono::milliseconds(5));
  egress.Done(owner->slot);
  released.get();
  auto* other = new Owner(egress);
  std::promise<void> pumped;
  other->on_pump = [&pumped] { pumped.set_value(); };
  egress.WakeAt(other->slot, std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
  pumped.get_future().get();
  egress.Done(other->slot);
}

TEST(Egress, AwaitEmptyTellsWhatIsLeft) {
  Egress egress(1);
  auto* owner = new Owner(egress);
  EXPECT_EQ(egress.num_attached(), 1u);
  EXPECT_FALSE(egress.AwaitEmpty(std::chrono::steady_clock::now()));
  egress.Done(owner->slot);
  EXPECT_TRUE(egress.AwaitEmpty(kNever));
}

}  // namespace
}  // namespace latentd
