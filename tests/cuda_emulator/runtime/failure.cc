#include "tests/cuda_emulator/runtime/failure.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <cxxabi.h>
#include <signal.h>
#include <unistd.h>

#include "tests/cuda_emulator/runtime/block.h"

namespace cuda_emulator {
namespace {

// Where the parentheses that end a demangled name open: those of its arguments.
size_t ArgumentsOf(const std::string& name) {
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {
    depth += name[i] == ')' ? 1 : name[i] == '(' ? -1 : 0;
    if (depth == 0) return i;
  }
  return name.size();
}

// "latentd::cuda::RmsNormKernel<64>": neither type nor arguments, nor where it is hidden.
std::string ReadableName(const char* mangled) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  if (status != 0) return mangled;
  std::string name = demangled;
  std::free(demangled);
  if (name.ends_with(')')) name.resize(ArgumentsOf(name));
  if (name.starts_with("void ")) name.erase(0, 5);
  constexpr std::string_view kHidden = "(anonymous namespace)::";
  for (size_t at; (at = name.find(kHidden)) != std::string::npos;) name.erase(at, kHidden.size());
  return name;
}

void PrintContext() {
  if (running_kernel == nullptr) return;
  std::fprintf(stderr, " [kernel %s", ReadableName(running_kernel->name).c_str());
  if (running != nullptr) {
    const Dim3& block = running->block->index;
    const Dim3& tid = running->state.tid;
    std::fprintf(stderr, " block %u,%u,%u thread %u,%u,%u", block.x, block.y, block.z, tid.x, tid.y, tid.z);
  }
  std::fputc(']', stderr);
}

void OnFault(int signal, siginfo_t* fault, void*) {
  if (running == nullptr) {
    ::signal(signal, SIG_DFL);  // not a kernel's: the instruction faults again, and the process dies as it would have
    return;
  }
  Fail({"kernel", 0}, "fault", "access of address %p, which is not mapped (a shadow module would name the line)",
       fault->si_addr);
}

}  // namespace

void Fail(Where where, const char* kind, const char* format, ...) {
  std::fprintf(stderr, "cuda emulator: %s: %s:%d: ", kind, where.file, where.line);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  PrintContext();
  std::fputc('\n', stderr);
  std::fflush(nullptr);
  _exit(kFailureExitCode);
}

void CatchFaults() {
  static const bool done = [] {
    constexpr size_t kHandlerStackBytes = 256 << 10;
    stack_t stack = {};
    stack.ss_sp = std::malloc(kHandlerStackBytes);
    stack.ss_size = kHandlerStackBytes;
    sigaltstack(&stack, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace cuda_emulator
