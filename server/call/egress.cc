#include "server/call/egress.h"

#include <algorithm>

namespace latentd {

Egress::Egress(int num_threads, Duration patience) : patience_(patience), num_slots_(static_cast<size_t>(num_threads)) {
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
  slot.thread = ChooseThread();
  ++num_slots_[slot.thread];
}

size_t Egress::ChooseThread() const {
  for (size_t i = 0; i < num_slots_.size(); ++i) {
    if (num_slots_[i] < kFullThread) return i;
  }
  return static_cast<size_t>(std::min_element(num_slots_.begin(), num_slots_.end()) - num_slots_.begin());
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
  const auto place = thread.alarms.emplace(when, &slot).first;
  if (place == thread.alarms.begin()) thread.changed.notify_one();  // else the thread wakes soon enough anyway
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
  const size_t thread = slot.thread;
  release();
  std::lock_guard lock(mutex_);
  --num_slots_[thread];
  if (--num_attached_ == 0) emptied_.notify_all();
}

// All that are queued by now: what comes of one step is woken together and costs one round of the lock.
void Egress::TakeTurns(Thread& thread, std::vector<Turn>* turns) {
  turns->clear();
  for (Slot* slot : thread.queue) {
    slot->is_queued = false;
    if (slot->is_done) thread.alarms.erase({slot->alarm, slot});
    turns->push_back({.slot = slot, .is_last = slot->is_done});
  }
  thread.queue.clear();
}

void Egress::Run(Thread& thread) {
  std::vector<Turn> turns;
  std::unique_lock lock(thread.mutex);
  for (;;) {
    if (!thread.alarms.empty()) RingAlarms(thread, std::chrono::steady_clock::now());
    if (!thread.queue.empty()) {
      TakeTurns(thread, &turns);
      lock.unlock();
      for (const Turn& turn : turns) {
        if (turn.is_last) {
          Release(*turn.slot);
        } else {
          turn.slot->pump();
        }
      }
      lock.lock();
    } else if (thread.closed) {
      return;
    } else if (thread.alarms.empty()) {
      thread.changed.wait(lock);
    } else {
      const TimePoint next = thread.alarms.begin()->first;  // a copy: the alarm may be taken back meanwhile
      thread.changed.wait_until(lock, next);
    }
  }
}

}  // namespace latentd
