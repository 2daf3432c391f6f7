// What the engine thread answers to a call that does not wait for it, and may be over by then. Shared by the call and
// the engine's listener.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace latentd {

template <class Answer>
class EngineReply {
 public:
  // The call, before the engine is asked. `wake` is called by the engine thread: must neither block nor call back.
  void Expect(std::function<void()> wake) {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }
  // The call is over: no wake after this.
  void Forget() { Expect(nullptr); }
  // The engine thread, once.
  void Give(Answer answer) {
    std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
    if (wake_) wake_();
  }
  // Nothing while it has not come.
  std::optional<Answer> Take() {
    std::lock_guard lock(mutex_);
    return std::exchange(answer_, std::nullopt);
  }

 private:
  std::mutex mutex_;  // guards all below
  std::function<void()> wake_;
  std::optional<Answer> answer_;
};

}  // namespace latentd
