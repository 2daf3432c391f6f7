#include "base/thread_pool.h"

#include <algorithm>
#include <csignal>
#include <limits>
#include <system_error>
#include <utility>

#include <hwy/cache_control.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/placement.h"
#include "base/processors.h"
#include "base/signal_mask.h"

namespace latentd {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kClosed = 1u << 30;            // no thread may enter
constexpr uint32_t kAwaited = 1u << 31;           // the caller is parked until the last thread leaves
constexpr uint64_t kTagUnit = uint64_t{1} << 32;  // tags are above an item's number
constexpr int kAll = std::numeric_limits<int>::max();

constexpr int kPausesPerLook = 16;  // between two looks at the clock: about a microsecond
constexpr Clock::duration kYieldAfter = std::chrono::microseconds(5);  // longer than between most regions of a step
// A look that comes so late was one of a thread whose core had been given to another; an interrupt takes less.
constexpr Clock::duration kCoreTaken = std::chrono::microseconds(200);
// So long the others wait for an item before its thread is thought to have lost its core.
constexpr Clock::duration kStall = std::chrono::milliseconds(1);
constexpr Clock::duration kTurn = std::chrono::milliseconds(1);  // where two threads have one core
constexpr Clock::duration kLongestRest = std::chrono::milliseconds(100);

// The kernel compares the word with `value` before it parks the thread, so that no change is missed.
void Park(const std::atomic<uint32_t>& word, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t));
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void Park(const std::atomic<uint32_t>& word, uint32_t value, std::chrono::nanoseconds longest) {
  const timespec timeout = {.tv_sec = longest.count() / 1'000'000'000, .tv_nsec = longest.count() % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, &timeout, nullptr, 0);
}

void Wake(const std::atomic<uint32_t>& word, int most) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, most, nullptr, nullptr, 0);
}

struct Spun {
  bool is_over = false;
  bool has_yielded = false;
  Clock::duration lost{};  // in which another thread had the core; then spinning ended
};

// Until is_over(), for `longest` at most. From kYieldAfter on it lets others have the core that wait for one, as the
// threads do that send what a step computed: the kernel would leave them waiting for milliseconds.
template <class IsOver>
Spun Spin(Clock::duration longest, const IsOver& is_over) {
  Spun spun{.is_over = is_over()};
  if (spun.is_over || longest == longest.zero()) return spun;
  const Clock::time_point begin = Clock::now();
  for (Clock::time_point before = begin; before - begin < longest;) {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (spun.is_over = is_over(); spun.is_over) return spun;
      hwy::Pause();
    }
    const Clock::time_point now = Clock::now();
    if (now - before > kCoreTaken) {
      spun.lost = now - before;
      break;
    }
    before = now;
    if (now - begin > kYieldAfter) {
      sched_yield();
      spun.has_yielded = true;
    }
  }
  spun.is_over = is_over();
  return spun;
}

// How often the calling thread's core was given to another, also as it let others have it.
long NumPreemptions() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

int NumWatching(Spinning spinning) {
  if (spinning == Spinning::kNever) return 0;
  const cpu::ProcessorFacts facts = cpu::FindProcessors();
  return static_cast<int>(std::min<double>(facts.allowed, facts.quota));
}

}  // namespace

ThreadPool::ThreadPool(int num_threads, std::vector<int> processors, Spinning spinning)
    : shares_(static_cast<size_t>(std::max(1, num_threads))),
      num_watching_(num_threads > 1 ? NumWatching(spinning) : 0),
      processors_(std::move(processors)),
      inside_(kClosed) {
  CHECK(processors_.empty() || processors_.size() == shares_.size());
  CHECK_GE(num_threads, 1);
  // Signals are for the thread that made the pool: a new thread inherits what its maker blocks.
  const sigset_t before = BlockSignalsButFaults();
  try {
    for (int thread = 1; thread < num_threads; ++thread) threads_.emplace_back([this, thread] { Work(thread); });
  } catch (const std::system_error&) {
    // Fewer threads do the same work; a caller that must have them all looks at num_threads().
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  stop_ = 1;
  region_.fetch_add(1);
  Wake(stop_, kAll);
  Wake(region_, kAll);
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Pin(int thread) const {
  if (!processors_.empty()) cpu::PinThisThread(processors_[static_cast<size_t>(thread)]);
}

void ThreadPool::Run(const void* body, int num_items) {
  if (!processors_.empty() && pinned_caller_ != std::this_thread::get_id()) {
    pinned_caller_ = std::this_thread::get_id();
    Pin(0);
  }
  if (num_items <= 1 || threads_.empty()) {
    for (int item = 0; item < num_items; ++item) call_(body, item, 0);
    return;
  }
  body_ = body;
  num_items_ = num_items;
  opened_ = Clock::now();
  Open();
  TakeItems(0);
  inside_.fetch_add(kClosed, std::memory_order_acq_rel);
  AwaitEmpty();
}

void ThreadPool::Open() {
  tag_ += kTagUnit;
  if (tag_ == 0) {  // tags begin anew: no share may have one that comes again
    for (Share& share : shares_) share.taken.store(0, std::memory_order_relaxed);
    tag_ = kTagUnit;
  }
  callers_core_.store(sched_getcpu(), std::memory_order_relaxed);
  inside_.store(0, std::memory_order_release);
  // Either a thread that is about to park is counted here, or it sees the new number: both sides write, then read.
  region_.fetch_add(1, std::memory_order_seq_cst);
  const int num_parked = num_parked_.load(std::memory_order_seq_cst);
  if (num_parked > 0) Wake(region_, std::min(num_parked, num_items_ - 1));
}

int ThreadPool::Take(int share, int num_shares) {
  const auto part = [&](int s) { return static_cast<uint64_t>(int64_t{num_items_} * s / num_shares); };
  std::atomic<uint64_t>& taken = shares_[static_cast<size_t>(share)].taken;
  uint64_t seen = taken.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t item = seen / kTagUnit == tag_ / kTagUnit ? seen % kTagUnit : part(share);
    if (item >= part(share + 1)) return -1;
    if (taken.compare_exchange_weak(seen, tag_ | (item + 1), std::memory_order_relaxed)) return static_cast<int>(item);
  }
}

void ThreadPool::TakeItems(int thread) {
  const int num_shares = std::min(num_threads(), num_items_);
  for (int i = 0; i < num_shares; ++i) {
    const int share = (thread + i) % num_shares;
    for (int item = 0; (item = Take(share, num_shares)) >= 0;) call_(body_, item, thread);
  }
}

// Into the region that is open, if one is.
bool ThreadPool::Enter() {
  uint32_t inside = inside_.load(std::memory_order_relaxed);
  while (inside < kClosed) {
    if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::Leave(Habits& habits) {
  const bool is_awaited = (inside_.load(std::memory_order_acquire) & kAwaited) != 0;
  const Clock::duration awaited = is_awaited ? TimeAwaited() : Clock::duration::zero();
  if (inside_.fetch_sub(1, std::memory_order_acq_rel) == (kClosed | kAwaited | 1)) Wake(inside_, 1);
  if (awaited <= kStall) return;
  const long before = std::exchange(habits.num_preemptions, NumPreemptions());
  if (habits.num_preemptions != before) Rest(awaited, habits);
}

// Nothing where the wait is no longer than the region was: items may be long.
ThreadPool::Clock::duration ThreadPool::TimeAwaited() const {
  const Clock::duration awaited = Clock::now() - closed_;
  return awaited > closed_ - opened_ ? awaited : Clock::duration::zero();
}

void ThreadPool::AwaitEmpty() {
  const auto is_empty = [this] { return inside_.load(std::memory_order_acquire) == kClosed; };
  if (is_empty()) return;
  closed_ = Clock::now();
  if (Spin(SpinOf(0), is_empty).is_over) return;
  uint32_t inside = inside_.fetch_or(kAwaited, std::memory_order_acq_rel) | kAwaited;
  for (; inside != (kClosed | kAwaited); inside = inside_.load(std::memory_order_acquire)) Park(inside_, inside);
}

void ThreadPool::AwaitRegion(uint32_t seen, Habits& habits) {
  const auto is_over = [&] { return region_.load(std::memory_order_acquire) != seen; };
  const Spun spun = Spin(IsOnCallersCore() ? Clock::duration::zero() : habits.spin, is_over);
  if (!spun.is_over) {
    if (spun.lost > spun.lost.zero()) Rest(spun.lost, habits);
    ParkUntilRegion(seen);
    // Where no core is idle the kernel wakes a thread beside its waker.
    if (IsOnCallersCore()) RestUntil(Clock::now() + kTurn);
  }
  // What took its core before, as all that ran while it waited, says nothing about its next items.
  if (!spun.is_over || spun.has_yielded) habits.num_preemptions = NumPreemptions();
}

void ThreadPool::ParkUntilRegion(uint32_t seen) {
  num_parked_.fetch_add(1, std::memory_order_seq_cst);
  while (region_.load(std::memory_order_seq_cst) == seen) Park(region_, seen);
  num_parked_.fetch_sub(1, std::memory_order_relaxed);
}

bool ThreadPool::IsOnCallersCore() const { return sched_getcpu() == callers_core_.load(std::memory_order_relaxed); }

// Longer each time where the core was taken again at once.
void ThreadPool::Rest(Clock::duration lost, Habits& habits) {
  const Clock::time_point now = Clock::now();
  const bool is_again = now - habits.rested_until < habits.rest;
  habits.rest = std::min(std::max(2 * lost, is_again ? 2 * habits.rest : lost.zero()), kLongestRest);
  habits.rested_until = now + habits.rest;
  RestUntil(habits.rested_until);
}

void ThreadPool::RestUntil(Clock::time_point end) {
  for (Clock::time_point now = Clock::now(); stop_ == 0 && now < end; now = Clock::now()) Park(stop_, 0, end - now);
}

void ThreadPool::Work(int thread) {
  Pin(thread);
  Habits habits{.spin = SpinOf(thread)};
  for (uint32_t seen = 0;;) {
    AwaitRegion(seen, habits);
    seen = region_.load(std::memory_order_acquire);
    if (stop_ != 0) return;
    if (!Enter()) continue;
    TakeItems(thread);
    Leave(habits);
  }
}

}  // namespace latentd
