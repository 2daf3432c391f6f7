#include "tests/cuda_emulator/runtime/fiber.h"

#include <sys/mman.h>

#include "tests/cuda_emulator/runtime/failure.h"

asm(R"(
.text
.globl CudaEmulatorSwitchStack
.type CudaEmulatorSwitchStack,@function
CudaEmulatorSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size CudaEmulatorSwitchStack,.-CudaEmulatorSwitchStack
)");

namespace cuda_emulator {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 4096;
constexpr int kSavedRegisters = 6;

}  // namespace

FiberStack MakeFiberStack(uint32_t index, void (*entry)()) {
  void* mapped = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED || mprotect(mapped, kGuardBytes, PROT_NONE) != 0) {
    Fail(CUDA_EMULATOR_HERE, "host", "no memory for the stack of thread %u", index);
  }
  std::byte* low = static_cast<std::byte*>(mapped) + kGuardBytes;
  std::byte* high = low + kStackBytes - (index * 7 % 61) * 64;
  // As if the entry had been called: 16-byte alignment before the return address, which is never used.
  auto* top = reinterpret_cast<uint64_t*>(high) - 2;
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = 0;
  return {low, high, top};
}

}  // namespace cuda_emulator
