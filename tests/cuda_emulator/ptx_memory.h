// PTX's loads, stores and atomics, for translated kernels. A plain module checks alignment, a shadow module (compiled
// with CUDA_EMULATOR_SHADOW) asks the runtime about every access. Stateless.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>

#include "tests/cuda_emulator/ptx_integer.h"
#include "tests/cuda_emulator/runtime/device_api.h"

namespace cuda_emulator::ptx {

#ifdef CUDA_EMULATOR_SHADOW
inline constexpr bool kShadow = true;
#else
inline constexpr bool kShadow = false;
#endif

inline std::byte* Pointer(uint64_t address) {
  return reinterpret_cast<std::byte*>(address);  // NOLINT: addresses of the emulated GPU are addresses of the host
}
inline uint64_t Address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// kOwn: .local memory and parameters, which no other thread sees.
enum class Access { kWeak, kStrong, kOwn };

template <Access kAccess>
void CheckedLoad(uint64_t address, uint32_t bytes, Where where) {
  if (!kShadow || kAccess == Access::kOwn) return CheckAlignment(address, bytes, where);
  return kAccess == Access::kStrong ? CheckStrongLoad(Pointer(address), bytes, where)
                                    : CheckLoad(Pointer(address), bytes, where);
}
template <Access kAccess>
void CheckedStore(uint64_t address, uint32_t bytes, Where where) {
  if (!kShadow || kAccess == Access::kOwn) return CheckAlignment(address, bytes, where);
  return kAccess == Access::kStrong ? CheckStrongStore(Pointer(address), bytes, where)
                                    : CheckStore(Pointer(address), bytes, where);
}

template <typename T, Access kAccess>
T Load(uint64_t address, Where where) {
  CheckedLoad<kAccess>(address, sizeof(T), where);
  T loaded;
  std::memcpy(&loaded, Pointer(address), sizeof loaded);
  return loaded;
}
template <typename T, uint32_t kCount, Access kAccess>
void LoadVector(T (&loaded)[kCount], uint64_t address, Where where) {
  CheckedLoad<kAccess>(address, sizeof loaded, where);
  std::memcpy(loaded, Pointer(address), sizeof loaded);
}
template <typename T, Access kAccess>
void Store(uint64_t address, T stored, Where where) {
  CheckedStore<kAccess>(address, sizeof(T), where);
  std::memcpy(Pointer(address), &stored, sizeof stored);
}
template <typename T, uint32_t kCount, Access kAccess>
void StoreVector(const T (&stored)[kCount], uint64_t address, Where where) {
  CheckedStore<kAccess>(address, sizeof stored, where);
  std::memcpy(Pointer(address), stored, sizeof stored);
}
// Loads from the parameter space, which has no addresses.
template <typename T>
T LoadParameter(const std::byte* from) {
  T loaded;
  std::memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

enum class Atomic { kAdd, kMin, kMax, kAnd, kOr, kXor, kInc, kDec, kExch };

template <Atomic kOperation, typename T>
T Combine(T old, T operand) {
  if constexpr (kOperation == Atomic::kExch) {
    return operand;
  } else if constexpr (std::floating_point<T>) {
    static_assert(kOperation == Atomic::kAdd);
    return old + operand;
  } else {
    switch (kOperation) {
      case Atomic::kAdd:
        return Add(old, operand);
      case Atomic::kMin:
        return Minimum(old, operand);
      case Atomic::kMax:
        return Maximum(old, operand);
      case Atomic::kAnd:
        return And(old, operand);
      case Atomic::kOr:
        return Or(old, operand);
      case Atomic::kXor:
        return Xor(old, operand);
      case Atomic::kInc:
        return old >= operand ? T{0} : Add(old, T{1});
      default:
        return old == 0 || old > operand ? operand : Subtract(old, T{1});
    }
  }
}

// One OS thread runs all fibers, and none is switched in here.
template <typename T>
T ExchangeAt(uint64_t address, T (*combine)(T, T, T), T operand, T other, Where where) {
  if (kShadow) {
    CheckAtomic(Pointer(address), sizeof(T), where);
  } else {
    CheckAlignment(address, sizeof(T), where);
  }
  T old;
  std::memcpy(&old, Pointer(address), sizeof old);
  const T replacement = combine(old, operand, other);
  std::memcpy(Pointer(address), &replacement, sizeof replacement);
  return old;
}
template <Atomic kOperation, typename T>
T AtomicUpdate(uint64_t address, T operand, Where where) {
  return ExchangeAt<T>(
      address, [](T old, T by, T) { return Combine<kOperation>(old, by); }, operand, T{}, where);
}
template <typename T>
T AtomicCompareAndSwap(uint64_t address, T expected, T replacement, Where where) {
  return ExchangeAt<T>(
      address, [](T old, T expected_, T replacement_) { return old == expected_ ? replacement_ : old; }, expected,
      replacement, where);
}

}  // namespace cuda_emulator::ptx
