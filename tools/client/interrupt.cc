#include "tools/client/interrupt.h"

#include <csignal>
#include <cstdlib>
#include <utility>

namespace latentd {
namespace {

constexpr int kExitInterrupted = 130;  // as shells report a program that SIGINT ended

sigset_t InterruptSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t signals = InterruptSignal();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { Run(); });
}

Interrupt::~Interrupt() {
  {
    std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGINT);
  thread_.join();
}

void Interrupt::Run() {
  const sigset_t signals = InterruptSignal();
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    std::lock_guard lock(mutex_);
    if (is_over_) return;
    if (!cancel_) std::_Exit(kExitInterrupted);
    cancel_();
  }
}

Interrupt::Guard::Guard(Interrupt& interrupt, std::function<void()> cancel) : interrupt_(interrupt) {
  std::lock_guard lock(interrupt_.mutex_);
  interrupt_.cancel_ = std::move(cancel);
}

Interrupt::Guard::~Guard() {
  std::lock_guard lock(interrupt_.mutex_);
  interrupt_.cancel_ = nullptr;
}

}  // namespace latentd
