// A race on purpose: a mailbox whose counter is read outside its lock. ThreadSanitizer must report it, or its silence
// about the engine's threads means nothing.
#include <cstdint>
#include <mutex>
#include <thread>

namespace {

class LeakyMailbox {
 public:
  void Put() {
    std::lock_guard lock(mutex_);
    ++num_pending_;
  }
  uint64_t num_pending() const { return num_pending_; }

 private:
  std::mutex mutex_;
  uint64_t num_pending_ = 0;
};

}  // namespace

int main() {
  LeakyMailbox mailbox;
  std::thread sender([&mailbox] {
    for (int i = 0; i < 100000; ++i) mailbox.Put();
  });
  uint64_t seen = 0;
  for (int i = 0; i < 100000; ++i) seen += mailbox.num_pending();
  sender.join();
  return seen == 1 ? 1 : 0;
}
