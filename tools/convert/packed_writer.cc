#include "tools/convert/packed_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/quoting.h"
#include "engine/model/checkpoint/packed_file.h"
#include "kernels/rounding.h"
#include "tools/convert/output_directory.h"

namespace latentd {
namespace {

// Written at multiples of its size: page caches then hold the file in huge pages, which are mapped as such.
constexpr size_t kChunkBytes = size_t{8} << 20;

absl::Status Unwritable(const std::filesystem::path& path) {
  return absl::UnavailableError(
      absl::StrFormat("%s: write: %s", Quoted(path.filename().string()), std::strerror(errno)));
}

template <class T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

void PackedWriter::Free::operator()(std::byte* bytes) const { std::free(bytes); }

absl::StatusOr<PackedWriter> PackedWriter::Create(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return Unwritable(path);
  PackedWriter writer(path, descriptor);
  if (absl::Status status = writer.Append(BytesOf(PackedHeader{})); !status.ok()) return status;
  return writer;
}

PackedWriter::PackedWriter(std::filesystem::path path, int descriptor)
    : path_(std::move(path)),
      descriptor_(descriptor),
      chunk_(static_cast<std::byte*>(std::aligned_alloc(PackedBytes::kAlignment, kChunkBytes))) {
  CHECK(chunk_ != nullptr);
}

PackedWriter::PackedWriter(PackedWriter&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      chunk_(std::move(other.chunk_)),
      used_(other.used_),
      flushed_(other.flushed_),
      tensors_(std::move(other.tensors_)) {}

PackedWriter::~PackedWriter() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status PackedWriter::Add(PackedTensor facts, std::span<const std::span<const std::byte>> buffers,
                               std::span<const float> scales) {
  if (absl::Status status = Align(); !status.ok()) return status;
  std::vector<std::byte> tensor;  // as a whole, for its digest
  size_t num_bytes = scales.size_bytes();
  for (const std::span<const std::byte> buffer : buffers) num_bytes += RoundUp(buffer.size(), PackedBytes::kAlignment);
  tensor.reserve(num_bytes);  // nothing is held twice while it grows
  for (const std::span<const std::byte> buffer : buffers) {
    tensor.insert(tensor.end(), buffer.begin(), buffer.end());
    tensor.resize(RoundUp(tensor.size(), PackedBytes::kAlignment));
  }
  facts.begin = place();
  facts.scales = facts.begin + tensor.size();
  const std::span<const std::byte> scale_bytes = std::as_bytes(scales);
  tensor.insert(tensor.end(), scale_bytes.begin(), scale_bytes.end());
  facts.end = facts.begin + tensor.size();
  facts.digest = PackedDigest(tensor);
  tensors_.push_back(std::move(facts));
  if (absl::Status status = CheckInterrupt(); !status.ok()) return status;
  return Append(tensor);
}

absl::StatusOr<uint64_t> PackedWriter::Finish(PackedIndex index) && {
  index.tensors = std::move(tensors_);
  if (absl::Status status = Align(); !status.ok()) return status;
  PackedHeader header = {.format = PackedHeader::kFormat, .layout = kPackedLayout, .index_begin = place()};
  const std::string text = PackedIndexText(index);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  header.index_digest = PackedDigest(bytes);
  if (absl::Status status = Append(bytes); !status.ok()) return status;
  header.file_bytes = place();
  if (absl::Status status = Flush(); !status.ok()) return status;
  std::copy(std::begin(PackedHeader::kMagic), std::end(PackedHeader::kMagic), header.magic);
  if (absl::Status status = WriteAt(0, BytesOf(header)); !status.ok()) return status;
  if (fsync(descriptor_) != 0) return Unwritable(path_);
  return header.file_bytes;
}

absl::Status PackedWriter::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t count = std::min(bytes.size(), kChunkBytes - used_);
    std::memcpy(chunk_.get() + used_, bytes.data(), count);
    used_ += count;
    bytes = bytes.subspan(count);
    if (used_ < kChunkBytes) break;
    if (absl::Status status = Flush(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status PackedWriter::Align() {
  static constexpr std::byte kZeros[PackedBytes::kAlignment] = {};
  const size_t beyond = place() % PackedBytes::kAlignment;
  return beyond == 0 ? absl::OkStatus() : Append(std::span(kZeros).first(PackedBytes::kAlignment - beyond));
}

absl::Status PackedWriter::Flush() {
  const absl::Status status = WriteAt(flushed_, {chunk_.get(), used_});
  flushed_ += used_;
  used_ = 0;
  return status;
}

absl::Status PackedWriter::WriteAt(uint64_t place, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(place));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Unwritable(path_);
    place += static_cast<uint64_t>(count);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

}  // namespace latentd
