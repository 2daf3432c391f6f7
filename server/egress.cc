#include "server/egress.h"

namespace latentd {

Egress::Egress(int num_threads) {
  for (int i = 0; i < num_threads; ++i) {
    threads_.push_back(std::make_unique<Thread>());
    Thread& thread = *threads_.back();
    thread.thread = std::thread([this, &thread] { Run(thread); });
  }
}

Egress::~Egress() {
  AwaitEmpty(kNever);
  for (const auto& thread : threads_) {
    {
      std::lock_guard lock(thread->mutex);
      thread->closed = true;
      thread->changed.notify_one();
    }
    thread->thread.join();
  }
}

void Egress::Attach(Slot& slot) {
  std::lock_guard lock(mutex_);
  ++num_attached_;
  slot.thread = next_thread_++ % threads_.size();
}

void Egress::Enqueue(Thread& thread, Slot& slot) {
  if (slot.is_queued) return;
  slot.is_queued = true;
  thread.queue.push_back(&slot);
  thread.changed.notify_one();
}

void Egress::Wake(Slot& slot) {
  Thread& thread = *threads_[slot.thread];
  std::lock_guard lock(thread.mutex);
  Enqueue(thread, slot);
}

void Egress::WakeAt(Slot& slot, TimePoint when) {
  Thread& thread = *threads_[slot.thread];
  std::lock_guard lock(thread.mutex);
  thread.alarms.erase({slot.alarm, &slot});
  slot.alarm = when;
  thread.alarms.emplace(when, &slot);
  thread.changed.notify_one();
}

void Egress::Done(Slot& slot) {
  Thread& thread = *threads_[slot.thread];
  std::lock_guard lock(thread.mutex);
  slot.is_done = true;
  Enqueue(thread, slot);
}

size_t Egress::num_attached() const {
  std::lock_guard lock(mutex_);
  return num_attached_;
}

bool Egress::AwaitEmpty(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  const auto is_empty = [this] { return num_attached_ == 0; };
  if (deadline != kNever) return emptied_.wait_until(lock, deadline, is_empty);
  emptied_.wait(lock, is_empty);
  return true;
}

void Egress::RingAlarms(Thread& thread, TimePoint now) {
  while (!thread.alarms.empty() && thread.alarms.begin()->first <= now) {
    Slot& slot = *thread.alarms.begin()->second;
    thread.alarms.erase(thread.alarms.begin());
    slot.alarm = kNever;
    Enqueue(thread, slot);
  }
}

void Egress::Release(Slot& slot) {
  const std::function<void()> release = std::move(slot.release);  // the slot goes with its owner
  release();
  std::lock_guard lock(mutex_);
  if (--num_attached_ == 0) emptied_.notify_all();
}

void Egress::Run(Thread& thread) {
  std::unique_lock lock(thread.mutex);
  for (;;) {
    RingAlarms(thread, std::chrono::steady_clock::now());
    if (!thread.queue.empty()) {
      Slot& slot = *thread.queue.front();
      thread.queue.pop_front();
      slot.is_queued = false;
      const bool is_done = slot.is_done;
      if (is_done) thread.alarms.erase({slot.alarm, &slot});
      lock.unlock();
      if (is_done) {
        Release(slot);
      } else {
        slot.pump();
      }
      lock.lock();
    } else if (thread.closed) {
      return;
    } else if (thread.alarms.empty()) {
      thread.changed.wait(lock);
    } else {
      thread.changed.wait_until(lock, thread.alarms.begin()->first);
    }
  }
}

}  // namespace latentd
