#include "server/call/work_pool.h"

#include <algorithm>
#include <utility>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

namespace latentd {
namespace {

// A tenth of the share of a thread that computes, where both want one processor.
constexpr int kNiceness = 10;

void LowerPriority() {
  // Linux has a priority for each thread. Where it may not be changed, the work is merely less polite.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNiceness);
}

}  // namespace

int WorkThreads(int num_processors) { return std::clamp(num_processors / 2, 2, 8); }

WorkPool::WorkPool(const WorkPoolOptions& options) : options_(options) {
  CHECK_GE(options.num_threads, 2);
  threads_.emplace_back([this] { Run(Takes::kSmall); });
  for (int i = 1; i < options.num_threads; ++i) {
    threads_.emplace_back([this] {
      LowerPriority();
      Run(Takes::kAll);
    });
  }
}

WorkPool::~WorkPool() {
  {
    std::lock_guard lock(mutex_);
    is_closed_ = true;
    small_changed_.notify_all();
    all_changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

std::optional<WorkPool::Ticket> WorkPool::Submit(Job job) {
  const bool is_large = job.num_bytes > kLargeJobBytes;
  std::optional<Waiting> displaced;
  std::unique_lock lock(mutex_);
  FairQueue<Waiting>& queue = is_large ? large_ : small_;
  if (queue.size() >= options_.max_jobs) {
    displaced = queue.PopForRoom(job.peer);
    if (!displaced) return std::nullopt;
  }
  const uint64_t id = ++last_id_;
  queue.Push(job.peer, {.id = id, .run = std::move(job.run), .displaced = std::move(job.displaced)});
  if (!is_large && is_first_idle_) {
    is_first_idle_ = false;
    small_changed_.notify_one();
  } else {
    all_changed_.notify_one();
  }
  lock.unlock();
  if (displaced) displaced->displaced();
  return Ticket{.peer = std::move(job.peer), .id = id, .is_large = is_large};
}

bool WorkPool::Withdraw(const Ticket& ticket) {
  std::optional<Waiting> withdrawn;  // goes after the lock
  std::lock_guard lock(mutex_);
  withdrawn = (ticket.is_large ? large_ : small_).Remove(ticket.peer, [&ticket](const Waiting& waiting) {
    return waiting.id == ticket.id;
  });
  return withdrawn.has_value();
}

size_t WorkPool::num_waiting() const {
  std::lock_guard lock(mutex_);
  return small_.size() + large_.size();
}

bool WorkPool::HasWork(Takes takes) const { return !small_.empty() || (takes == Takes::kAll && !large_.empty()); }

std::optional<WorkPool::Waiting> WorkPool::Pop(Takes takes) {
  if (takes == Takes::kSmall) return small_.Pop();
  const bool takes_large = !large_.empty() && (is_turn_of_large_ || small_.empty());
  is_turn_of_large_ = !takes_large;
  return takes_large ? large_.Pop() : small_.Pop();
}

std::function<void()> WorkPool::Next(Takes takes) {
  std::unique_lock lock(mutex_);
  std::condition_variable& changed = takes == Takes::kSmall ? small_changed_ : all_changed_;
  while (!HasWork(takes) && !is_closed_) {
    if (takes == Takes::kSmall) is_first_idle_ = true;
    changed.wait(lock);
  }
  if (takes == Takes::kSmall) is_first_idle_ = false;
  std::optional<Waiting> next = Pop(takes);
  return next ? std::move(next->run) : std::function<void()>();
}

void WorkPool::Run(Takes takes) {
  while (const std::function<void()> job = Next(takes)) job();
}

}  // namespace latentd
