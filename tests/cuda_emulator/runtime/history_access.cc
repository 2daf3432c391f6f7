// The accesses themselves: looks into the planes and writes them. A 16-byte access usually finds one id in all its
// bytes.
#include <cstring>
#include <string>
#include <utility>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/history.h"

namespace cuda_emulator {
namespace {

using FourIds = AccessId __attribute__((vector_size(4 * sizeof(AccessId))));

// Whether the first kCount ids are all this one.
template <uint32_t kCount>
bool AllAre(const AccessId* plane, AccessId id) {
  if constexpr (kCount < 4) {
    for (uint32_t i = 0; i < kCount; ++i) {
      if (plane[i] != id) return false;
    }
    return true;
  } else {
    FourIds difference = {};
    for (uint32_t i = 0; i < kCount; i += 4) {
      FourIds ids;
      std::memcpy(&ids, plane + i, sizeof ids);
      difference |= ids ^ id;
    }
    uint64_t halves[2];
    std::memcpy(halves, &difference, sizeof halves);
    return (halves[0] | halves[1]) == 0;
  }
}

template <uint32_t kCount>
void Fill(AccessId* plane, AccessId id) {
  if constexpr (kCount < 4) {
    for (uint32_t i = 0; i < kCount; ++i) plane[i] = id;
  } else {
    const FourIds ids = FourIds{} + id;
    for (uint32_t i = 0; i < kCount; i += 4) std::memcpy(plane + i, &ids, sizeof ids);
  }
}

}  // namespace

void BlockHistory::CheckPlane(const Access& access, const AccessId* plane, const char* what,
                              bool plane_is_of_writes) const {
  AccessId checked = 0;
  for (uint32_t i = 0; i < access.bytes; ++i) {
    if (plane[i] == checked) continue;
    checked = plane[i];
    const AccessId conflict = FirstConflict(access.region, checked, access.kind);
    if (conflict != 0) ReportRace(access, what, conflict, plane_is_of_writes);
  }
}

// A block's own readers that the present one adds to. The id may be any block's, or settled.
AccessId BlockHistory::WithReader(const Region& region, AccessId readers, AccessId own) {
  return readers < first_id_ || IsOtherBlocks(region, readers) ? own : Add(readers, own);
}

// Byte by byte; runs of equal ids are worked out once.
void BlockHistory::NoteReaders(const Access& access) {
  AccessId* readers = access.region.readers() + access.offset;
  AccessId* other_readers = access.region.shared_by_blocks ? access.region.other_readers() + access.offset : nullptr;
  AccessId last_before = 0, last_after = access.own;
  for (uint32_t i = 0; i < access.bytes; ++i) {
    AccessId before = readers[i];
    if (IsOtherBlocks(access.region, before)) before = std::exchange(other_readers[i], before);
    if (before != last_before) {
      last_before = before;
      last_after = WithReader(access.region, before, access.own);
    }
    readers[i] = last_after;
  }
}

// Atomics that nothing orders have all written: what is not atomic must be ordered after each.
void BlockHistory::NoteWriters(const Access& access) {
  AccessId* writers = access.region.writers() + access.offset;
  for (uint32_t i = 0; i < access.bytes; ++i) {
    const bool adds = access.kind == AccessKind::kAtomic && writers[i] >= first_id_ && IsAtomic(writers[i]) &&
                      !IsOtherBlocks(access.region, writers[i]);
    writers[i] = adds ? Add(writers[i], access.own) : access.own;
  }
}

template <uint32_t kBytes>
void BlockHistory::ReadSpan(const Access& access) {
  const AccessId settled = SettledBelow(access.region);
  const AccessId* writers = access.region.writers() + access.offset;
  const AccessId writer = *writers;
  const bool is_harmless = writer < settled || (writer | kAtomicBit) == (access.own | kAtomicBit);
  if (!AllAre<kBytes>(writers, writer) || !is_harmless) CheckPlane(access, writers, "load", true);

  AccessId* readers = access.region.readers() + access.offset;
  const AccessId reader = *readers;
  if (!AllAre<kBytes>(readers, reader)) return NoteReaders(access);
  if (reader == access.own) return;
  if (!IsOtherBlocks(access.region, reader)) {
    return Fill<kBytes>(readers, reader < settled ? access.own : WithReader(access.region, reader, access.own));
  }
  AccessId* other_readers = access.region.other_readers() + access.offset;
  const AccessId other = *other_readers;
  if (!AllAre<kBytes>(other_readers, other)) return NoteReaders(access);
  Fill<kBytes>(other_readers, reader);
  Fill<kBytes>(readers, WithReader(access.region, other, access.own));
}

template <uint32_t kBytes>
void BlockHistory::WriteSpan(const Access& access) {
  const AccessId settled = SettledBelow(access.region);
  const auto check = [&](const AccessId* plane, bool is_of_writes) {
    const bool is_harmless = *plane < settled || *plane == access.own;
    if (!AllAre<kBytes>(plane, *plane) || !is_harmless) CheckPlane(access, plane, "store", is_of_writes);
  };
  AccessId* writers = access.region.writers() + access.offset;
  check(writers, true);
  check(access.region.readers() + access.offset, false);
  if (access.region.shared_by_blocks) check(access.region.other_readers() + access.offset, false);
  if (access.kind == AccessKind::kAtomic) return NoteWriters(access);
  Fill<kBytes>(writers, access.own);
}

void BlockHistory::Read(Region& region, uint64_t offset, uint32_t bytes, AccessKind kind, Where where) {
  const Access access = {region, offset, bytes, kind, where, OwnId(kind)};
  AccessIds::Get().RecordOf(access.own).last_read = where;
  switch (bytes) {
    case 1:
      return ReadSpan<1>(access);
    case 2:
      return ReadSpan<2>(access);
    case 4:
      return ReadSpan<4>(access);
    case 8:
      return ReadSpan<8>(access);
    case 16:
      return ReadSpan<16>(access);
    default:
      Read(region, offset, 1, kind, where);  // the odd sizes of cp.async sources
  }
  for (uint32_t i = 1; i < bytes; ++i) Read(region, offset + i, 1, kind, where);
}

void BlockHistory::Write(Region& region, uint64_t offset, uint32_t bytes, AccessKind kind, Where where) {
  const Access access = {region, offset, bytes, kind, where, OwnId(kind)};
  AccessIds::Get().RecordOf(access.own).last_write = where;
  switch (bytes) {
    case 1:
      return WriteSpan<1>(access);
    case 2:
      return WriteSpan<2>(access);
    case 4:
      return WriteSpan<4>(access);
    case 8:
      return WriteSpan<8>(access);
    case 16:
      return WriteSpan<16>(access);
    default:
      Fail(where, "misaligned", "store of %u bytes", bytes);
  }
}

void BlockHistory::ReportRace(const Access& access, const char* what, AccessId earlier, bool earlier_wrote) const {
  const char* earlier_what = earlier_wrote ? "store" : "load";
  const std::string place = access.region.shared_by_blocks
                                ? "a global address"
                                : "byte " + std::to_string(access.offset) + " of the shared memory";
  if (IsOtherBlocks(access.region, earlier)) {
    const uint64_t number = AccessIds::Get().BlockOf(earlier);
    Fail(access.where, "race", "%s of %u bytes at %s (%p): nothing orders it and a %s by block %llu,%llu,%llu", what,
         access.bytes, place.c_str(), access.region.AddressOf(access.offset), earlier_what,
         static_cast<unsigned long long>(number % nctaid.x),
         static_cast<unsigned long long>(number / nctaid.x % nctaid.y),
         static_cast<unsigned long long>(number / nctaid.x / nctaid.y));
  }
  const AccessRecord& record = AccessIds::Get().RecordOf(earlier);
  const Where line = earlier_wrote ? record.last_write : record.last_read;
  const Dim3& tid = block_->threads[record.thread]->state.tid;
  Fail(access.where, "race", "%s of %u bytes at %s (%p): nothing orders it and a %s by thread %u,%u,%u at %s:%d", what,
       access.bytes, place.c_str(), access.region.AddressOf(access.offset), earlier_what, tid.x, tid.y, tid.z,
       line.file, line.line);
}

void ThreadFence(int scope) {
  if (running_kernel->shadow && scope != kFenceBlock) running->block->history->Fence();
}

}  // namespace cuda_emulator
