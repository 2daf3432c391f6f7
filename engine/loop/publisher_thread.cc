#include "engine/loop/publisher_thread.h"

#include <optional>
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

void PublisherThread::Open(StreamOpening opening) {
  outbox_.Merge([&](Outbox& outbox) { outbox.opened.push_back(std::move(opening)); });
}

void PublisherThread::Publish(StepOutput output) {
  if (output.sequences.empty()) return;
  // Moved as it is: sorting it by stream is not the engine thread's work.
  outbox_.Merge([&](Outbox& outbox) { outbox.steps.push_back(std::move(output)); });
}

bool PublisherThread::AwaitEnds(uint64_t num_ends, Duration timeout) {
  std::unique_lock lock(ends_mutex_);
  return ends_changed_.wait_for(lock, timeout, [&] { return num_ends_ >= num_ends; });
}

void PublisherThread::Run(Inbox& inbox) {
  while (std::optional<Outbox> batch = outbox_.Await()) {
    for (StreamOpening& opening : batch->opened) publisher_.Open(std::move(opening));
    Effects effects;
    publisher_.Publish(batch->steps, effects);
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
