#include "tests/cuda_emulator/runtime/shadow.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_emulator/runtime/block.h"
#include "tests/cuda_emulator/runtime/device_memory.h"
#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/history.h"

namespace cuda_emulator {
namespace {

const std::byte* launch_parameters = nullptr;
uint64_t num_parameter_bytes = 0;

// Never shrinks, so that pointers stay.
std::vector<std::unique_ptr<Region>>& VariableRegions() {
  static auto* regions = new std::vector<std::unique_ptr<Region>>;
  return *regions;
}

bool AllBytesAre(const uint8_t* state, uint32_t bytes, ByteState wanted) {
  const uint64_t pattern = 0x0101010101010101ull * wanted;
  if (bytes >= 8) {
    uint64_t difference = 0;
    for (uint32_t i = 0; i < bytes; i += 8) {
      uint64_t word;
      std::memcpy(&word, state + i, sizeof word);
      difference |= word ^ pattern;
    }
    return difference == 0;
  }
  uint64_t word = 0;
  for (uint32_t i = 0; i < bytes; ++i) word |= uint64_t{state[i]} << (8 * i);
  return word == (pattern & ((uint64_t{1} << (8 * bytes)) - 1));
}

// The own .local memory and the parameters, which no other thread can touch.
bool IsPrivate(const void* address, uint32_t bytes) {
  const auto* first = static_cast<const std::byte*>(address);
  const FiberStack& stack = running->stack;
  if (first >= stack.low && first + bytes <= stack.high) return true;
  return first >= launch_parameters && first + bytes <= launch_parameters + num_parameter_bytes;
}

Region* FindRegion(const void* address, uint32_t bytes) {
  Region& shared = running->block->shared.region();
  if (shared.Contains(address, bytes)) return &shared;
  Region& device = DeviceMemory::Get().region();
  if (device.Contains(address, bytes)) return &device;
  return FindVariableRegion(address, bytes);
}

[[noreturn]] void ReportNoRegion(const void* address, uint32_t bytes, const char* access, Where where) {
  constexpr uintptr_t kLowestPointer = 1 << 16;
  const auto number = reinterpret_cast<uintptr_t>(address);
  const bool is_wild = number < kLowestPointer || number >> 47 != 0 || IsSharedAddress(address) ||
                       DeviceMemory::Get().region().Contains(address, 1);
  if (is_wild) Fail(where, "out-of-bounds", "%s of %u bytes at %p", access, bytes, address);
  Fail(where, "host-pointer", "%s of %u bytes at %p, which is no device memory", access, bytes, address);
}

[[noreturn]] void ReportUnallocated(Region& region, const void* address, uint32_t bytes, const char* access,
                                    Where where) {
  if (!region.shared_by_blocks) {
    Fail(where, "out-of-bounds", "%s of %u bytes at byte %llu of the shared memory, past its arrays", access, bytes,
         static_cast<unsigned long long>(region.OffsetOf(address)));
  }
  DeviceMemory::Allocation below;
  if (!DeviceMemory::Get().FindAtOrBelow(address, &below)) {
    Fail(where, "out-of-bounds", "%s of %u bytes at %p, below all allocations", access, bytes, address);
  }
  Fail(where, "out-of-bounds", "%s of %u bytes at byte %llu of an allocation of %llu bytes", access, bytes,
       static_cast<unsigned long long>(region.OffsetOf(address) - below.offset),
       static_cast<unsigned long long>(below.bytes));
}

std::string Place(const Region& region, const void* address) {
  char place[64];
  if (region.shared_by_blocks) {
    std::snprintf(place, sizeof place, "%p", address);
  } else {
    std::snprintf(place, sizeof place, "byte %llu of the shared memory",
                  static_cast<unsigned long long>(region.OffsetOf(address)));
  }
  return place;
}

// Some byte is not as the access needs it: the first such byte decides.
[[noreturn]] void ReportState(Region& region, const void* address, uint32_t bytes, const char* access, ByteState wanted,
                              Where where) {
  const uint8_t* state = region.state() + region.OffsetOf(address);
  const std::string place = Place(region, address);
  uint32_t i = 0;
  while (state[i] == wanted || (wanted == kUninitialised && state[i] == kInitialised)) ++i;
  switch (state[i]) {
    case kFreed:
      Fail(where, "freed", "%s of %u bytes at %p, which has been freed", access, bytes, address);
    case kUninitialised:
      Fail(where, "uninitialised", "%s of %u bytes at %s: no one has written byte %u of them", access, bytes,
           place.c_str(), i);
    case kInFlight:
      Fail(where, wanted == kInitialised ? "uninitialised" : "race",
           "%s of %u bytes at %s: a cp.async into them has not been waited for", access, bytes, place.c_str());
    default:
      ReportUnallocated(region, address, bytes, access, where);
  }
}

BlockHistory& History() { return *running->block->history; }

void Load(const void* address, uint32_t bytes, AccessKind kind, Where where) {
  CheckAlignment(reinterpret_cast<uintptr_t>(address), bytes, where);
  Region* region = FindRegion(address, bytes);
  if (region == nullptr) {
    if (IsPrivate(address, bytes)) return;
    ReportNoRegion(address, bytes, "load", where);
  }
  const uint64_t offset = region->OffsetOf(address);
  if (!AllBytesAre(region->state() + offset, bytes, kInitialised)) {
    ReportState(*region, address, bytes, "load", kInitialised, where);
  }
  if (kind == AccessKind::kAtomic && region->shared_by_blocks) History().See(address);
  if (!region->read_only) History().Read(*region, offset, bytes, kind, where);
}

bool IsWritable(const uint8_t* state, uint32_t bytes) {
  return std::all_of(state, state + bytes, [](uint8_t byte) { return byte == kUninitialised || byte == kInitialised; });
}

void Store(const void* address, uint32_t bytes, AccessKind kind, Where where) {
  CheckAlignment(reinterpret_cast<uintptr_t>(address), bytes, where);
  Region* region = FindRegion(address, bytes);
  if (region == nullptr) {
    if (IsPrivate(address, bytes)) return;
    ReportNoRegion(address, bytes, "store", where);
  }
  if (region->read_only) Fail(where, "out-of-bounds", "store of %u bytes into constant memory", bytes);
  const uint64_t offset = region->OffsetOf(address);
  uint8_t* state = region->state() + offset;
  if (!AllBytesAre(state, bytes, kInitialised)) {
    if (!IsWritable(state, bytes)) ReportState(*region, address, bytes, "store", kUninitialised, where);
    std::memset(state, kInitialised, bytes);
  }
  History().Write(*region, offset, bytes, kind, where);
  if (kind == AccessKind::kAtomic && region->shared_by_blocks) History().Publish(address);
}

uint8_t* SharedState(uint32_t address) {
  Region& region = running->block->shared.region();
  return region.state() + region.OffsetOf(SharedPointer(address));
}

// The source of a cp.async: any bytes of live memory, written or not. Null: variables and the like, which are written.
const uint8_t* CheckSource(const AsyncRequest& request, Where where) {
  Region* region = FindRegion(request.source, request.source_bytes);
  if (region == nullptr) ReportNoRegion(request.source, request.source_bytes, "cp.async", where);
  const uint64_t offset = region->OffsetOf(request.source);
  const uint8_t* state = region->state() + offset;
  if (!IsWritable(state, request.source_bytes)) {
    ReportState(*region, request.source, request.source_bytes, "cp.async", kUninitialised, where);
  }
  if (!region->read_only) History().Read(*region, offset, request.source_bytes, AccessKind::kPlain, where);
  return state;
}

}  // namespace

void CheckLoad(const void* address, uint32_t bytes, Where where) { Load(address, bytes, AccessKind::kPlain, where); }

void CheckStore(const void* address, uint32_t bytes, Where where) { Store(address, bytes, AccessKind::kPlain, where); }

void CheckStrongLoad(const void* address, uint32_t bytes, Where where) {
  Load(address, bytes, AccessKind::kAtomic, where);
}

void CheckStrongStore(const void* address, uint32_t bytes, Where where) {
  Store(address, bytes, AccessKind::kAtomic, where);
}

void CheckAtomic(void* address, uint32_t bytes, Where where) {
  Load(address, bytes, AccessKind::kAtomic, where);
  Store(address, bytes, AccessKind::kAtomic, where);
}

void BeginAsyncCopy(const AsyncRequest& request) {
  if (request.source_bytes > 0) CheckSource(request, request.where);
  Region& region = running->block->shared.region();
  const void* target = SharedPointer(request.shared_address);
  if (!region.Contains(target, request.bytes)) ReportNoRegion(target, request.bytes, "cp.async", request.where);
  uint8_t* state = SharedState(request.shared_address);
  if (!IsWritable(state, request.bytes)) {
    ReportState(region, target, request.bytes, "cp.async", kUninitialised, request.where);
  }
  History().Write(region, region.OffsetOf(target), request.bytes, AccessKind::kPlain, request.where);
  std::memset(state, kInFlight, request.bytes);
}

void EndAsyncCopy(const AsyncRequest& request, Where where) {
  uint8_t* state = SharedState(request.shared_address);
  std::memset(state, kInitialised, request.bytes);
  if (request.source_bytes > 0) {
    const uint8_t* source_state = CheckSource(request, request.where);
    std::memcpy(state, source_state, request.source_bytes);
  }
  Region& region = running->block->shared.region();
  History().Write(region, region.OffsetOf(SharedPointer(request.shared_address)), request.bytes, AccessKind::kPlain,
                  where);
}

void AddVariableRegion(const Variable& variable) {
  auto region = std::make_unique<Region>();
  region->SetRange(variable.address, variable.bytes);
  region->shared_by_blocks = true;
  region->read_only = variable.constant;
  region->MapShadow();
  std::memset(region->state(), kInitialised, variable.bytes);
  VariableRegions().push_back(std::move(region));
}

Region* FindVariableRegion(const void* address, uint64_t bytes) {
  for (const auto& region : VariableRegions()) {
    if (region->Contains(address, bytes)) return region.get();
  }
  return nullptr;
}

void BeginLaunch(const Kernel& kernel, const std::byte* parameters) {
  launch_parameters = parameters;
  num_parameter_bytes = kernel.parameter_bytes;
  if (!kernel.shadow) return;
  DeviceMemory::Get().region().MapShadow();
  DeviceMemory::Get().NoticePlainWrites();
  BlockHistory::BeginLaunch();
}

void EndLaunch(const Kernel& kernel) {
  if (!kernel.shadow) DeviceMemory::Get().SetPlainKernelRan();
}

}  // namespace cuda_emulator
