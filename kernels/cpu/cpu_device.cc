#include "kernels/cpu/cpu_device.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <absl/strings/str_format.h>
#include <hwy/base.h>
#include <sys/mman.h>

#include "base/available_memory.h"
#include "base/check.h"
#include "kernels/cpu/tiles.h"
#include "kernels/rounding.h"

namespace latentd::cpu {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;
// From here on the kernel is asked about free memory: for less it would cost more than it tells.
constexpr size_t kLargeBytes = 2 * kHugePage;
// Chunks double from the first of these to the second: an address space may be bounded (ulimit -v), and addresses that
// no buffer touches count there.
constexpr size_t kFirstChunk = 2 * kHugePage, kLargestChunk = 128 * kHugePage;

// Buffers that are mapped or share a mapping; smaller ones are the heap's. There AddressSanitizer sees an overrun, so
// under it all are that would share.
constexpr bool IsMapped(size_t bytes) {
  return bytes >= kPage && (!HWY_IS_ASAN || bytes > BufferChunks::kLargestBuffer);
}

// Zero pages that no core dump holds.
void* Map(size_t bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  madvise(address, bytes, MADV_DONTDUMP);
  return address;
}

// Such pages, huge ones where there are any, from a multiple of their size on; what alignment left over is given back.
void* MapLarge(size_t bytes) {
  const size_t wanted = RoundUp(bytes, kPage);
  void* address = Map(wanted + kHugePage);
  if (address == nullptr) return nullptr;
  auto* first = static_cast<std::byte*>(address);
  auto* begin = reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<uintptr_t>(first), kHugePage));
  const auto before = static_cast<size_t>(begin - first);
  if (before > 0) munmap(first, before);
  if (before < kHugePage) munmap(begin + wanted, kHugePage - before);
  madvise(begin, wanted, MADV_HUGEPAGE);  // advice: without huge pages all works, slower
  return begin;
}

void* AllocateSmall(size_t bytes) {
  void* address = std::aligned_alloc(kAlignment, RoundUp(bytes, kAlignment));
  if (address != nullptr) std::memset(address, 0, bytes);
  return address;
}

}  // namespace

BufferChunks::~BufferChunks() {
  for (const Chunk& chunk : chunks_) munmap(chunk.begin, chunk.bytes);
}

std::byte* BufferChunks::Take(size_t num_bytes) {
  const size_t wanted = RoundUp(num_bytes, kPage);
  if (chunks_.empty() || chunks_.back().bytes - chunks_.back().used < wanted) {
    size_t mapped = 0;
    for (const Chunk& chunk : chunks_) mapped += chunk.bytes;
    const size_t bytes = RoundUp(std::max(wanted, std::clamp(mapped, kFirstChunk, kLargestChunk)), kHugePage);
    auto* begin = static_cast<std::byte*>(MapLarge(bytes));
    if (begin == nullptr) return nullptr;
    chunks_.push_back({.begin = begin, .bytes = bytes, .used = 0, .buffers = 0});
  }
  Chunk& chunk = chunks_.back();
  std::byte* const buffer = chunk.begin + chunk.used;
  chunk.used += wanted;
  ++chunk.buffers;
  return buffer;
}

bool BufferChunks::GiveBack(const std::byte* buffer) {
  const auto chunk = std::find_if(chunks_.begin(), chunks_.end(), [=](const Chunk& candidate) {
    return buffer >= candidate.begin && buffer < candidate.begin + candidate.bytes;
  });
  if (chunk == chunks_.end()) return false;
  if (--chunk->buffers > 0) return true;
  munmap(chunk->begin, chunk->bytes);
  chunks_.erase(chunk);
  return true;
}

CpuDevice::CpuDevice() : CpuDevice(AvailableMemory()) {}

CpuDevice::CpuDevice(size_t available_bytes) : available_at_start_(available_bytes) {}

std::string CpuDevice::Describe() const {
  const std::string tiles = DescribeTiles();
  return tiles.empty() ? "CPU" : "CPU with " + tiles;
}

absl::StatusOr<DeviceBuffer> CpuDevice::Allocate(size_t bytes) {
  if (bytes == 0) return DeviceBuffer();
  const bool is_large = bytes >= kLargeBytes;
  const size_t left = is_large ? AvailableBytes() : available_at_start_ - std::min(available_at_start_, allocated_);
  void* address = nullptr;
  if (bytes <= left) address = TakeFromSystem(bytes);
  if (address == nullptr) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%.1f MiB of memory asked for, %.1f MiB available; free memory, raise the container's limit, or "
        "configure a smaller model, cache or step",
        static_cast<double>(bytes) / 0x1p20, static_cast<double>(left) / 0x1p20));
  }
  allocated_ += bytes;
  return DeviceBuffer(this, address, bytes);
}

void* CpuDevice::TakeFromSystem(size_t bytes) {
  if (!IsMapped(bytes)) return AllocateSmall(bytes);
  std::byte* const shared = bytes <= BufferChunks::kLargestBuffer ? chunks_.Take(bytes) : nullptr;
  return shared != nullptr ? shared : MapLarge(bytes);
}

void CpuDevice::Upload(const void* host, size_t bytes, void* device) { std::memcpy(device, host, bytes); }

void CpuDevice::Download(const void* device, size_t bytes, void* host) { std::memcpy(host, device, bytes); }

size_t CpuDevice::AvailableBytes() const {
  return std::min(AvailableMemory(), available_at_start_ - std::min(available_at_start_, allocated_));
}

void CpuDevice::Free(void* address, size_t bytes) {
  CHECK_LE(bytes, allocated_);
  allocated_ -= bytes;
  if (!IsMapped(bytes)) return std::free(address);
  if (!chunks_.GiveBack(static_cast<const std::byte*>(address))) munmap(address, RoundUp(bytes, kPage));
}

}  // namespace latentd::cpu
