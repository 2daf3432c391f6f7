#include "tests/support/system_calls.h"

#include <algorithm>
#include <csignal>

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace latentd {
namespace {

// Calls that no other code makes: getpgid of a process that cannot exist.
constexpr uint64_t kBegin = 0x7FFF'FFF1, kEnd = 0x7FFF'FFF2;
constexpr int kSystemCallStop = SIGTRAP | 0x80;  // as PTRACE_O_TRACESYSGOOD marks it
constexpr int kUntraceable = 99;

[[noreturn]] void RunTraced(const std::function<void()>& body) {
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(kUntraceable);
  raise(SIGSTOP);
  body();
  _exit(0);
}

struct Trace {
  SystemCalls calls;
  bool is_counting = false;
};

void Record(pid_t thread, Trace& trace) {
  __ptrace_syscall_info info{};
  CHECK_GT(ptrace(PTRACE_GET_SYSCALL_INFO, thread, reinterpret_cast<void*>(sizeof(info)), &info), 0);
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
  if (info.entry.nr == SYS_getpgid && (info.entry.args[0] == kBegin || info.entry.args[0] == kEnd)) {
    trace.is_counting = info.entry.args[0] == kBegin;
    return;
  }
  if (!trace.is_counting) return;
  ++trace.calls.counts[info.entry.nr];
  if (info.entry.nr != SYS_futex) return;
  trace.calls.first_futex = std::min<uint64_t>(trace.calls.first_futex, info.entry.args[0]);
  trace.calls.last_futex = std::max<uint64_t>(trace.calls.last_futex, info.entry.args[0]);
}

// The signal that the stopped thread is to get as it goes on.
int Handle(pid_t thread, int status, Trace& trace) {
  const int signal = WSTOPSIG(status);
  if (signal == kSystemCallStop) {
    Record(thread, trace);
    return 0;
  }
  const bool is_event = status >> 16 != 0;
  return is_event || signal == SIGSTOP ? 0 : signal;  // a new thread begins with SIGSTOP
}

}  // namespace

void BeginCounting() { syscall(SYS_getpgid, kBegin); }
void EndCounting() { syscall(SYS_getpgid, kEnd); }

std::optional<SystemCalls> TraceSystemCalls(const std::function<void()>& body) {
  const pid_t child = fork();
  CHECK_GE(child, 0);
  if (child == 0) RunTraced(body);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kUntraceable) return std::nullopt;
  CHECK(WIFSTOPPED(status));
  constexpr long kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
  CHECK_EQ(ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions), 0);
  ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  Trace trace;
  for (;;) {
    const pid_t thread = waitpid(-1, &status, __WALL);
    CHECK_GT(thread, 0);
    if (WIFSTOPPED(status)) {
      ptrace(PTRACE_SYSCALL, thread, nullptr, static_cast<long>(Handle(thread, status, trace)));
    } else if (thread == child) {
      trace.calls.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return trace.calls;
    }
  }
}

}  // namespace latentd
