// Run under ThreadSanitizer, too.
#include "base/thread_pool.h"

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>

#include "base/placement.h"

namespace latentd {
namespace {

void ExpectEachItemRunsOnce(ThreadPool& pool, int num_regions) {
  for (int region = 0; region < num_regions; ++region) {
    const int num_items = region % 23;
    std::vector<int> runs(static_cast<size_t>(num_items), 0);  // no atomics: an item belongs to one thread
    pool.ForEach(num_items, [&](int item, int thread) {
      ASSERT_GE(thread, 0);
      ASSERT_LT(thread, pool.num_threads());
      ++runs[static_cast<size_t>(item)];
    });
    EXPECT_EQ(runs, std::vector<int>(static_cast<size_t>(num_items), 1)) << "region " << region;
  }
}

TEST(ThreadPool, EveryItemOfEveryRegionRunsOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    ExpectEachItemRunsOnce(pool, 2000);
  }
}

// Without watching every region parks and wakes its threads; one wake-up that is lost stops the test.
TEST(ThreadPool, ParkedThreadsMissNoRegion) {
  for (const int threads : {2, 5}) {
    ThreadPool pool(threads, Spinning::kNever);
    ExpectEachItemRunsOnce(pool, 2000);
    for (int region = 0; region < 100; ++region) {
      std::atomic<int> num_inside{0};
      // Possible only where another thread comes.
      pool.ForEach(2, [&](int, int) {
        ++num_inside;
        num_inside.notify_all();
        for (int seen = num_inside; seen < 2; seen = num_inside) num_inside.wait(seen);
      });
      EXPECT_EQ(num_inside, 2);
    }
  }
}

TEST(ThreadPool, PoolsThatShareTheCoresDoNotHarmEachOther) {
  std::vector<std::jthread> callers;
  for (const Spinning spinning : {Spinning::kWhereGranted, Spinning::kNever, Spinning::kWhereGranted}) {
    callers.emplace_back([spinning] {
      ThreadPool pool(4, spinning);
      ExpectEachItemRunsOnce(pool, 500);
    });
  }
}

// Its caches and its memory hold what it read in the region before.
TEST(ThreadPool, AThreadBeginsWithItsOwnStretch) {
  constexpr int kThreads = 4, kStretch = 6;
  ThreadPool pool(kThreads);
  for (int region = 0; region < 3; ++region) {
    std::vector<int> first(kThreads, -1);
    std::atomic<int> num_inside{0};
    pool.ForEach(kThreads * kStretch, [&](int item, int thread) {
      int& begin = first[static_cast<size_t>(thread)];
      if (begin >= 0) return;
      begin = item;
      ++num_inside;
      num_inside.notify_all();
      for (int seen = num_inside; seen < kThreads; seen = num_inside) num_inside.wait(seen);
    });
    EXPECT_EQ(first, (std::vector<int>{0, kStretch, 2 * kStretch, 3 * kStretch}));
  }
}

// Thread 1 stays in the first item of its stretch until the other has taken all that follow.
TEST(ThreadPool, AThreadGoesOnWithTheNextItem) {
  constexpr int kItems = 8;
  ThreadPool pool(2);
  std::atomic<bool> is_taken{false}, is_last{false};
  std::vector<int> items;
  pool.ForEach(kItems, [&](int item, int thread) {
    if (thread == 1) {
      is_taken = true;
      is_taken.notify_all();
      return is_last.wait(false);
    }
    is_taken.wait(false);
    items.push_back(item);
    if (item != kItems - 1) return;
    is_last = true;
    is_last.notify_all();
  });
  EXPECT_EQ(items, (std::vector<int>{0, 1, 2, 3, 5, 6, 7}));
  for (const size_t at : {0u, 1u, 2u, 4u, 5u}) EXPECT_EQ(ThreadPool::NextItem(items[at], kItems), items[at + 1]);
  EXPECT_EQ(ThreadPool::NextItem(kItems - 1, kItems), -1);
}

TEST(ThreadPool, PinnedThreadsStayOnTheirProcessors) {
  const std::vector<int> allowed = cpu::PlaceThreads("on", 1).value().processors;
  std::thread caller([processor = allowed.front()] {
    ThreadPool pool(3, std::vector<int>(3, processor));
    std::atomic<int> num_inside{0};
    pool.ForEach(3, [&](int, int) {
      cpu_set_t set;
      ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
      EXPECT_EQ(CPU_COUNT(&set), 1);
      EXPECT_TRUE(CPU_ISSET(static_cast<size_t>(processor), &set));
      ++num_inside;
      num_inside.notify_all();
      for (int seen = num_inside; seen < 3; seen = num_inside) num_inside.wait(seen);
    });
  });
  caller.join();
}

// State S of /proc/self/task/*/stat: a thread that watched for ever would stay in R.
int NumRunning() {
  int running = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    if (!std::getline(file, line)) continue;
    running += line.at(line.rfind(')') + 2) == 'R' ? 1 : 0;
  }
  return running;
}

TEST(ThreadPool, AnIdlePoolParks) {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  pool.ForEach(100, [&](int item, int) { sum += item; });
  while (NumRunning() > 1) std::this_thread::yield();
  EXPECT_EQ(sum, 4950);
}

TEST(ThreadPool, ItsThreadsTakeNoSignals) {
  ThreadPool pool(2);
  std::atomic<bool> other_ran{false};
  pool.ForEach(2, [&](int, int thread) {
    if (thread == 0) return other_ran.wait(false);
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    EXPECT_TRUE(sigismember(&blocked, SIGTERM));
    other_ran = true;
    other_ran.notify_all();
  });
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  EXPECT_FALSE(sigismember(&blocked, SIGTERM)) << "the maker's own mask is as it was";
}

TEST(ThreadPool, OtherThreadsTakeItemsWhileTheCallerIsBusy) {
  ThreadPool pool(2);
  std::atomic<bool> other_ran{false};
  // The thread that runs one item waits until the other was run: possible only with two threads inside.
  pool.ForEach(2, [&](int item, int) {
    if (item == 0) other_ran.wait(false);
    if (item == 1) {
      other_ran = true;
      other_ran.notify_all();
    }
  });
  EXPECT_TRUE(other_ran);
}

}  // namespace
}  // namespace latentd
