// The functions that translated kernels call: threads, barriers, warp operations, tensor cores, asynchronous copies,
// shared memory and checks. Owned by the emulator's runtime. One OS thread runs everything; every CUDA thread is a
// fiber of it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

// A line of the .cu file. Generated code passes CUDA_EMULATOR_HERE below a #line of that file.
struct Where {
  const char* file;
  int line;
};
#define CUDA_EMULATOR_HERE (::cuda_emulator::Where{__FILE__, __LINE__})

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
};

struct ThreadState {
  Dim3 tid;
  uint32_t lane, warp;
};

// State of the running fiber. Valid until it blocks; the same again when it goes on.
extern ThreadState* current_thread;
extern Dim3 ctaid, ntid, nctaid;

// Prints `cuda emulator: KIND: FILE:LINE: text [kernel K block x,y,z thread x,y,z]` to stderr and ends the process with
// code 99.
[[noreturn]] void Fail(Where where, const char* kind, const char* format, ...) __attribute__((format(printf, 3, 4)));

// bar.sync. A site is a static object of the instruction: threads of one barrier must meet at one site.
// num_threads 0 means the whole block. BarrierSync takes the line for the site.
void BarrierSync(uint32_t id, uint32_t num_threads, Where where);
void BarrierSyncAt(uint32_t id, uint32_t num_threads, const void* site, Where where);

// bar.warp.sync. Orders the memory accesses of the lanes in the mask; the operations below don't.
void WarpSync(uint32_t mask, Where where);

// All lanes of the mask meet at one site. Each gives `bytes` (at most 64) and gets everybody's: out[lane * bytes].
// Lanes outside the mask are 0xFF in `out`. For vote, match, redux and the like.
void WarpExchange(uint32_t mask, const void* site, const void* in, uint32_t bytes, void* out, Where where);

// shfl.sync: `lane_operand` and `clamp` are its b and c. Stores whether the source lane was in range, unless `valid` is
// null.
enum ShuffleMode { kShuffleUp = 0, kShuffleDown = 1, kShuffleButterfly = 2, kShuffleIndex = 3 };
uint32_t Shuffle(int mode, uint32_t value, uint32_t lane_operand, uint32_t clamp, uint32_t mask, bool* valid,
                 const void* site, Where where);
uint32_t Ballot(bool predicate, uint32_t mask, const void* site, Where where);

// ldmatrix.sync.aligned.m8n8.xCOUNT[.trans].shared.b16, count 1, 2 or 4: the whole warp.
void LoadMatrix(int count, bool transposed, uint32_t address, uint32_t* out, const void* site, Where where);

// mma.sync.aligned.row.col with f32 accumulation: the whole warp. a: 4 registers, b: 2, c and d: 4 (may be the same).
enum class MmaShape { kM16N8K16Bf16, kM16N8K16F16, kM16N8K32E4m3 };
void Mma(MmaShape shape, const uint32_t* a, const uint32_t* b, const float* c, float* d, const void* site, Where where);

// cp.async of 4, 8 or 16 bytes: source_bytes are read, the rest is filled with zeros.
// cp.async.wait_all is AsyncCommit() and then AsyncWait(0).
void AsyncCopy(uint32_t shared_address, const void* global_address, uint32_t bytes, uint32_t source_bytes, Where where);
void AsyncCommit();
void AsyncWait(uint32_t groups_left, Where where);

// membar and fence. An atomic with .release or .acq_rel is a fence and then the relaxed atomic; .acquire needs nothing
// more.
enum FenceScope { kFenceBlock = 0, kFenceDevice = 1, kFenceSystem = 2 };
void ThreadFence(int scope);
// nanosleep, and the body of every spin: lets other threads run.
void Yield();

// Checks of a plain module: alignment, which every ld, st and atom of `bytes` bytes needs.
inline void CheckAlignment(uint64_t address, uint32_t bytes, Where where) {
  if (__builtin_expect((address & (bytes - 1)) != 0, 0)) {
    Fail(where, "misaligned", "address %#llx is not a multiple of %u", static_cast<unsigned long long>(address), bytes);
  }
}
// Checks of a shadow module, instead: alignment, allocation, initialisation and races. Called before the access, one
// call for a whole vector access (at most 16 bytes). Accesses of the own .local memory and of .param need no check, but
// pass them. The strong ones are for ld and st with .volatile, .relaxed, .acquire or .release: they don't race with
// each other and with atomics. A release store is a fence and then the strong store.
void CheckLoad(const void* address, uint32_t bytes, Where where);
void CheckStore(const void* address, uint32_t bytes, Where where);
void CheckAtomic(void* address, uint32_t bytes, Where where);
void CheckStrongLoad(const void* address, uint32_t bytes, Where where);
void CheckStrongStore(const void* address, uint32_t bytes, Where where);

// Shared memory of this block. A shared 32-bit address is the low half of the pointer, and a generic pointer to shared
// memory is the shared address widened: cvta in both directions is the identity.
std::byte* SharedBase();     // the static arrays, laid out by the translator, 1024-aligned
std::byte* DynamicShared();  // extern __shared__, 1024-aligned
inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pointer));
}
inline void* SharedPointer(uint32_t address) {
  return reinterpret_cast<void*>(static_cast<uintptr_t>(address));  // NOLINT: the arena lies below 4 GiB
}
bool IsSharedAddress(const void* pointer);  // isspacep.shared

}  // namespace cuda_emulator
