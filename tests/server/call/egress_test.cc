#include "server/call/egress.h"

#include <atomic>
#include <chrono>
#include <future>
#include <map>
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

// Owners that fill the first thread, so that the next one is on another.
std::vector<Owner*> FillThread(Egress& egress) {
  std::vector<Owner*> owners;
  for (size_t i = 0; i < Egress::kFullThread; ++i) owners.push_back(new Owner(egress));
  return owners;
}

// The thread that a slot belongs to.
std::thread::id ThreadOf(Egress& egress, Owner& owner) {
  std::promise<std::thread::id> pumped;
  owner.on_pump = [&pumped] { pumped.set_value(std::this_thread::get_id()); };
  egress.Wake(owner.slot);
  const std::thread::id id = pumped.get_future().get();
  owner.on_pump = [] {};
  return id;
}

TEST(Egress, FillsOneThreadBeforeTheNextAndThenBalances) {
  Egress egress(2);
  std::map<std::thread::id, size_t> num_slots;
  std::vector<Owner*> owners = FillThread(egress);
  for (Owner* owner : owners) ++num_slots[ThreadOf(egress, *owner)];
  EXPECT_EQ(num_slots.size(), 1u);
  while (owners.size() < 3 * Egress::kFullThread) {
    owners.push_back(new Owner(egress));
    ++num_slots[ThreadOf(egress, *owners.back())];
  }
  ASSERT_EQ(num_slots.size(), 2u);
  EXPECT_EQ(num_slots.begin()->second, num_slots.rbegin()->second);
  for (Owner* owner : owners) egress.Done(owner->slot);
}

TEST(Egress, AThreadThatEmptiedIsFilledAgain) {
  Egress egress(2);
  std::vector<Owner*> owners = FillThread(egress);
  const std::thread::id first = ThreadOf(egress, *owners[0]);
  std::future<void> released = owners[0]->released.get_future();
  egress.Done(owners[0]->slot);
  released.get();
  while (egress.num_attached() == Egress::kFullThread) std::this_thread::yield();  // counted just after
  owners[0] = new Owner(egress);
  EXPECT_EQ(ThreadOf(egress, *owners[0]), first);
  for (Owner* owner : owners) egress.Done(owner->slot);
}

TEST(Egress, ASlowPumpDoesNotDelayTheOtherThread) {
  Egress egress(2);
  const std::vector<Owner*> first_thread = FillThread(egress);
  auto* slow = first_thread[0];
  auto* quick = new Owner(egress);
  std::promise<void> go_on, pumped;
  slow->on_pump = [&go_on] { go_on.get_future().wait(); };
  quick->on_pump = [&pumped] { pumped.set_value(); };
  egress.Wake(slow->slot);
  egress.Wake(quick->slot);
  pumped.get_future().get();
  go_on.set_value();
  for (Owner* owner : first_thread) egress.Done(owner->slot);
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
