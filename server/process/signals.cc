#include "server/process/signals.h"

#include <atomic>
#include <csignal>
#include <thread>
#include <utility>

#include <unistd.h>

namespace latentd {
namespace {

// nohup has it ignored, and then it stays so.
bool IsHangupIgnored() {
  struct sigaction action {};
  return sigaction(SIGHUP, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (!IsHangupIgnored()) sigaddset(&signals, SIGHUP);
  return signals;
}

void BlockStopSignals() {
  // Shells start background jobs with SIGINT ignored, and an ignored signal cannot be waited for.
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);  // a client that hangs up is not a reason to die
  std::signal(SIGXFSZ, SIG_IGN);  // nor is a file at its largest size: who writes it is told
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

// As the signal itself would, so that a parent sees which one it was; with an exit code where the kernel spares us.
[[noreturn]] void EndBySignal(int number) {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  std::raise(number);
  constexpr int kShellsBase = 128;
  _exit(kShellsBase + number);
}

}  // namespace

void StopRequest::Send() {
  const std::lock_guard lock(mutex_);
  is_sent_ = true;
  changed_.notify_all();
}

void StopRequest::SendSignal(int number) {
  const std::lock_guard lock(mutex_);
  is_sent_ = true;
  signal_ = number;
  changed_.notify_all();
}

std::optional<int> StopRequest::TakeSignal() {
  const std::lock_guard lock(mutex_);
  return std::exchange(signal_, std::nullopt);
}

bool StopRequest::AwaitOr(const std::function<bool()>& is_over) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_sent_ || is_over(); });
  return is_sent_;
}

void StopRequest::Notify() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

int RunUnderSignals(StopRequest& stop, const std::function<int()>& body, const std::function<void()>& last_act) {
  BlockStopSignals();  // and with that in every thread to come
  std::atomic<bool> is_over = false;
  int result = 0;
  const pthread_t main_thread = pthread_self();
  std::thread worker([&] {
    result = body();
    is_over = true;
    pthread_kill(main_thread, SIGTERM);  // only to wake it
  });
  const sigset_t signals = StopSignals();
  for (int num_signals = 0, number = 0; sigwait(&signals, &number) == 0 && !is_over;) {
    if (++num_signals == 1) {
      stop.SendSignal(number);
    } else if (number != SIGHUP) {  // of one terminal that closes, several come: from the shell and from the kernel
      last_act();
      EndBySignal(number);
    }
  }
  worker.join();
  return result;
}

}  // namespace latentd
