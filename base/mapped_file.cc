#include "base/mapped_file.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/file_faults.h"
#include "base/quoting.h"

namespace latentd {
namespace {

// Advises on the pages that hold these bytes. The content stays the same whether or not the advice is taken.
bool Advise(std::span<const std::byte> bytes, int advice) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
  return madvise(reinterpret_cast<void*>(first), end - first, advice) == 0;
}

#ifndef MADV_POPULATE_READ
constexpr int MADV_POPULATE_READ = 22;  // of Linux 5.14; older ones refuse it
#endif

}  // namespace

struct MappedFile::Mapping {
  std::span<const std::byte> bytes;
  KnownFile* known = nullptr;
  std::atomic<size_t> ahead_end{0};  // the disk was asked for the bytes before this one
};

void MappedFile::Unmap::operator()(Mapping* mapping) const {
  Forget(mapping->known);
  munmap(const_cast<std::byte*>(mapping->bytes.data()), mapping->bytes.size());
  delete mapping;
}

MappedFile::MappedFile(std::unique_ptr<Mapping, Unmap> mapping) : mapping_(std::move(mapping)) {}

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const std::string name = Quoted(path.string());
  absl::StatusOr<RegularFile> file = RegularFile::Open(path, name);
  if (!file.ok()) return file.status();
  const size_t size = file->num_bytes();
  if (size == 0) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected a file with content, found an empty one", name));
  }
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file->descriptor(), 0);
  if (address == MAP_FAILED) return FileError(name, "a file that can be mapped");
  madvise(address, size, MADV_DONTDUMP);  // weights are in a file already, and not for everybody
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(address), size);
  std::unique_ptr<Mapping, Unmap> mapping(new Mapping{.bytes = bytes, .known = nullptr});
  mapping->known = Remember(path, bytes, file->Release());
  MappedFile mapped(std::move(mapping));
  if (const std::string other = NotTheFile(mapped.text()); !other.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected the file, found %s", name, other));
  }
  return mapped;
}

std::span<const std::byte> MappedFile::bytes() const { return mapping_->bytes; }

absl::Status MappedFile::CheckUncut() const {
  const int64_t found = SizeNow(*mapping_->known);
  if (found == std::ssize(bytes())) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "%s: expected %d bytes as when it was opened, found %d: the file changed while it was read; fetch it again",
      QuotedPath(*mapping_->known), bytes().size(), found));
}

void MappedFile::ReadAhead(std::span<const std::byte> part) const {
  const size_t begin = static_cast<size_t>(part.data() - bytes().data());
  const size_t end = begin + part.size();
  size_t asked = mapping_->ahead_end.load(std::memory_order_relaxed);
  // Threads and tensors come a little out of order.
  const bool is_on_its_way = asked >= begin && asked <= end + 2 * kAheadBytes;
  if (is_on_its_way && (asked == bytes().size() || asked >= end + kAheadBytes / 2)) return;
  const size_t ahead = std::min(bytes().size(), end + kAheadBytes);
  const size_t from = is_on_its_way ? asked : begin;
  // The thread that loses the race leaves the prefetch to the winner.
  if (mapping_->ahead_end.compare_exchange_strong(asked, ahead, std::memory_order_relaxed)) {
    Advise(bytes().subspan(from, ahead - from), MADV_WILLNEED);
  }
}

void MappedFile::Release(std::span<const std::byte> part) const {
  // A fault maps what lies around it, too, as far as it is in memory.
  constexpr size_t kFaultAroundBytes = size_t{64} << 10;
  const size_t begin = static_cast<size_t>(part.data() - bytes().data());
  const size_t from = begin - std::min(begin, kFaultAroundBytes);
  const size_t end = std::min(bytes().size(), begin + part.size() + kFaultAroundBytes);
  Advise(bytes().subspan(from, end - from), MADV_DONTNEED);
}

void MappedFile::BringIn(std::span<const std::byte> part) const {
  if (part.empty()) return;
  Advise(part, MADV_HUGEPAGE);
  if (Advise(part, MADV_POPULATE_READ)) return;
  Advise(part, MADV_WILLNEED);
  constexpr size_t kSmallestPage = 4096;
  for (size_t at = 0; at < part.size(); at += kSmallestPage) {
    const volatile std::byte* byte = &part[at];
    [[maybe_unused]] const std::byte read = *byte;
  }
}

}  // namespace latentd
