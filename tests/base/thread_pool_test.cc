// Run under ThreadSanitizer, too.
#include "base/thread_pool.h"

#include <atomic>
#include <csignal>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(ThreadPool, EveryItemOfEveryRegionRunsOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int region = 0; region < 2000; ++region) {
      const int num_items = region % 23;
      std::vector<int> runs(static_cast<size_t>(num_items), 0);  // no atomics: an item belongs to one thread
      pool.ForEach(num_items, [&](int item, int thread) {
        ASSERT_GE(thread, 0);
        ASSERT_LT(thread, threads);
        ++runs[static_cast<size_t>(item)];
      });
      EXPECT_EQ(runs, std::vector<int>(static_cast<size_t>(num_items), 1)) << "region " << region;
    }
  }
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
