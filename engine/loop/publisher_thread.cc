#include "engine/loop/publisher_thread.h"

#include <utility>

#include "base/check.h"

namespace latentd {

void PublisherThread::Start(Inbox& inbox) {
  CHECK(!thread_.joinable());
  thread_ = std::thread([this, &inbox] { Run(inbox); });
}

void PublisherThread::Stop() {
  outbox_.Close();
  if (thread_.joinable()) thread_.join();
}

bool PublisherThread::AwaitEnds(uint64_t num_ends, Duration timeout) {
  std::unique_lock lock(ends_mutex_);
  return ends_changed_.wait_for(lock, timeout, [&] { return num_ends_ >= num_ends; });
}

void PublisherThread::Run(Inbox& inbox) {
  Outbox::Letter letter;
  while (outbox_.Await(letter)) {
    for (StreamOpening& opening : letter.opened) publisher_.Open(std::move(opening));
    Effects effects;
    publisher_.Publish(letter.outputs, effects);
    outbox_.GiveBack(letter);
    inbox.Apply(effects);
    CountEnds(effects.ended.size());
  }
}

void PublisherThread::CountEnds(uint64_t num_ends) {
  if (num_ends == 0) return;
  std::lock_guard lock(ends_mutex_);
  num_ends_ += num_ends;
  ends_changed_.notify_all();
}

}  // namespace latentd
