#include "server/signals.h"

#include <csignal>
#include <cstdint>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kernels/check.h"

namespace latentd {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int OpenSignals() {
  // Shells start background jobs with SIGINT ignored, and an ignored signal cannot be waited for.
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);  // a client that hangs up is not a reason to die
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

}  // namespace

StopRequest::StopRequest() : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { CHECK_GE(event_, 0); }

StopRequest::~StopRequest() { close(event_); }

void StopRequest::Send() {
  const uint64_t one = 1;
  CHECK_EQ(write(event_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
}

StopSignal::StopSignal() : signals_(OpenSignals()) { CHECK_GE(signals_, 0); }

StopSignal::~StopSignal() { close(signals_); }

std::optional<int> StopSignal::Await(const StopRequest& request) {
  pollfd causes[] = {{.fd = signals_, .events = POLLIN, .revents = 0},
                     {.fd = request.event_, .events = POLLIN, .revents = 0}};
  while (poll(causes, 2, -1) <= 0) {
  }
  return Take();
}

std::optional<int> StopSignal::Take() {
  signalfd_siginfo signal{};
  if (read(signals_, &signal, sizeof(signal)) != static_cast<ssize_t>(sizeof(signal))) return std::nullopt;
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  return static_cast<int>(signal.ssi_signo);
}

}  // namespace latentd
