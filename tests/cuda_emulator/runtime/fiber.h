// Stacks for CUDA threads and the switch between them. x86-64 System V only; no system call on a switch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

// Saves the callee-saved registers on this stack and its pointer in *save, and goes on where `to` was saved.
extern "C" void CudaEmulatorSwitchStack(void** save, void* to);

// A fresh stack, ready to be switched to: `entry` starts on it and must not return. Never freed. Below it lies a guard
// page. `index` staggers the tops: equal depths of many stacks must not share cache sets.
struct FiberStack {
  std::byte* low;  // lowest usable address
  std::byte* high;
  void* pointer;  // for the first switch
};
FiberStack MakeFiberStack(uint32_t index, void (*entry)());

}  // namespace cuda_emulator
