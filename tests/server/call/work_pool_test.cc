#include "server/call/work_pool.h"

#include <atomic>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

constexpr size_t kSmall = 100;
constexpr size_t kLarge = WorkPool::kLargeJobBytes + 1;

// A job that holds its thread until it is opened.
class Gate {
 public:
  WorkPool::Job JobOf(const std::string& peer, size_t num_bytes) {
    return {.peer = peer,
            .num_bytes = num_bytes,
            .run =
                [this] {
                  begun_.count_down();
                  open_.wait();
                },
            .displaced = [] { FAIL() << "a gate that runs can't be displaced"; }};
  }
  void AwaitBegun() { begun_.wait(); }
  void Open() { open_.count_down(); }

 private:
  std::latch begun_{1}, open_{1};
};

// Notes the names of jobs in the order in which they run.
class Notes {
 public:
  WorkPool::Job JobOf(const std::string& peer, const std::string& name, size_t num_bytes = kSmall) {
    return {.peer = peer,
            .num_bytes = num_bytes,
            .run = [this, name] { Add(name); },
            .displaced = [this, name] { Add("displaced " + name); }};
  }
  std::vector<std::string> names() const {
    std::lock_guard lock(mutex_);
    return names_;
  }
  void Await(size_t count) {
    std::unique_lock lock(mutex_);
    added_.wait(lock, [&] { return names_.size() >= count; });
  }

 private:
  void Add(const std::string& name) {
    std::lock_guard lock(mutex_);
    names_.push_back(name);
    added_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable added_;
  std::vector<std::string> names_;
};

TEST(WorkPool, LargeJobsLeaveAThreadToSmallOnes) {
  for (const int num_threads : {2, 4}) {
    std::vector<Gate> gates(static_cast<size_t>(2 * num_threads));
    std::promise<void> ran;
    WorkPool pool({.num_threads = num_threads});
    for (Gate& gate : gates) ASSERT_TRUE(pool.Submit(gate.JobOf("hostile", kLarge)));
    for (int i = 0; i + 1 < num_threads; ++i) gates[static_cast<size_t>(i)].AwaitBegun();
    ASSERT_TRUE(pool.Submit({.peer = "neighbour", .num_bytes = kSmall, .run = [&ran] { ran.set_value(); }}));
    ran.get_future().wait();
    EXPECT_EQ(pool.num_waiting(), gates.size() - static_cast<size_t>(num_threads) + 1);
    for (Gate& gate : gates) gate.Open();
  }
}

TEST(WorkPool, PeersTakeTurns) {
  for (const size_t num_bytes : {kSmall, kLarge}) {
    Gate small, large;
    Notes notes;
    {
      WorkPool pool({.num_threads = 2});
      pool.Submit(large.JobOf("gate", kLarge));
      large.AwaitBegun();  // on the thread that takes all jobs
      pool.Submit(small.JobOf("gate", kSmall));
      small.AwaitBegun();  // on the other one
      pool.Submit(notes.JobOf("gate", "last of its peer", num_bytes));
      for (int i = 1; i <= 8; ++i) pool.Submit(notes.JobOf("busy", "busy", num_bytes));
      pool.Submit(notes.JobOf("neighbour", "neighbour", num_bytes));
      // One thread alone, or two would note neighbours of the order the other way round.
      Gate& first = num_bytes == kLarge ? large : small;
      Gate& second = num_bytes == kLarge ? small : large;
      first.Open();
      notes.Await(10);
      second.Open();
    }
    const std::vector<std::string> names = notes.names();
    ASSERT_EQ(names.size(), 10u);
    EXPECT_TRUE(names[1] == "neighbour" || names[2] == "neighbour" || names[3] == "neighbour");
  }
}

TEST(WorkPool, JobThatIsWithdrawnNeverRuns) {
  Gate small, large;
  Notes notes;
  {
    WorkPool pool({.num_threads = 2});
    const auto running = pool.Submit(large.JobOf("peer", kLarge));
    large.AwaitBegun();
    pool.Submit(small.JobOf("peer", kSmall));
    small.AwaitBegun();
    const auto first = pool.Submit(notes.JobOf("peer", "first"));
    const auto second = pool.Submit(notes.JobOf("peer", "second", kLarge));
    const auto third = pool.Submit(notes.JobOf("peer", "third"));
    EXPECT_TRUE(pool.Withdraw(*first));
    EXPECT_TRUE(pool.Withdraw(*second));
    EXPECT_FALSE(pool.Withdraw(*first)) << "it is gone";
    EXPECT_FALSE(pool.Withdraw(*running)) << "it has begun";
    EXPECT_EQ(pool.num_waiting(), 1u);
    small.Open();
    large.Open();
  }
  EXPECT_EQ(notes.names(), std::vector<std::string>{"third"});
}

TEST(WorkPool, FullQueueRefusesThePeerThatFilledItAndNoOther) {
  Gate small, large;
  Notes notes;
  {
    WorkPool pool({.num_threads = 2, .max_jobs = 3});
    pool.Submit(large.JobOf("gate", kLarge));
    large.AwaitBegun();
    pool.Submit(small.JobOf("gate", kSmall));
    small.AwaitBegun();
    for (const char* name : {"1", "2", "3"}) EXPECT_TRUE(pool.Submit(notes.JobOf("hostile", name)));
    EXPECT_FALSE(pool.Submit(notes.JobOf("hostile", "4")));
    EXPECT_TRUE(pool.Submit(notes.JobOf("neighbour", "n")));
    EXPECT_EQ(notes.names(), std::vector<std::string>{"displaced 3"});
    EXPECT_EQ(pool.num_waiting(), 3u);
    EXPECT_FALSE(pool.Submit(notes.JobOf("neighbour", "m"))) << "then both would have two";
    small.Open();
    large.Open();
  }
  EXPECT_EQ(notes.names().size(), 4u);
}

TEST(WorkPool, EveryJobRunsOnceWhateverItsSizeAndPeer) {
  std::vector<std::atomic<int>> runs(2000);
  {
    WorkPool pool({.num_threads = 4});
    std::vector<std::thread> clients;
    for (size_t client = 0; client < 4; ++client) {
      clients.emplace_back([&, client] {
        for (size_t i = client; i < runs.size(); i += 4) {
          pool.Submit({.peer = std::to_string(i % 7), .num_bytes = i % 3 == 0 ? kLarge : kSmall, .run = [&runs, i] {
                         ++runs[i];
                       }});
        }
      });
    }
    for (std::thread& client : clients) client.join();
  }
  for (const std::atomic<int>& count : runs) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace latentd
