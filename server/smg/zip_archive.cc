#include "server/smg/zip_archive.h"

#include <utility>

#include <zlib.h>

#include "base/check.h"

namespace latentd {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryHeader = 0x02014b50, kDirectoryEnd = 0x06054b50;
constexpr uint16_t kVersion = 20, kUtf8Names = 1 << 11, kStored = 0;
constexpr uint32_t kFirstDay = (1 << 5 | 1) << 16;  // the first of 1980, midnight: the same files, the same bytes

void Put16(uint16_t value, std::string& bytes) {
  bytes += static_cast<char>(value & 0xff);
  bytes += static_cast<char>(value >> 8);
}

void Put32(uint32_t value, std::string& bytes) {
  Put16(static_cast<uint16_t>(value & 0xffff), bytes);
  Put16(static_cast<uint16_t>(value >> 16), bytes);
}

}  // namespace

void ZipArchive::Add(std::string_view name, std::string_view content) {
  CHECK(bytes_.size() + content.size() < UINT32_MAX / 2);
  const auto* first = reinterpret_cast<const Bytef*>(content.data());
  const Entry entry{.name = std::string(name),
                    .checksum = static_cast<uint32_t>(crc32(0, first, static_cast<uInt>(content.size()))),
                    .num_bytes = static_cast<uint32_t>(content.size()),
                    .offset = static_cast<uint32_t>(bytes_.size())};
  Put32(kLocalHeader, bytes_);
  for (const uint16_t field : {kVersion, kUtf8Names, kStored}) Put16(field, bytes_);
  for (const uint32_t field : {kFirstDay, entry.checksum, entry.num_bytes, entry.num_bytes}) Put32(field, bytes_);
  Put16(static_cast<uint16_t>(name.size()), bytes_);
  Put16(0, bytes_);  // no extra field
  bytes_ += name;
  bytes_ += content;
  entries_.push_back(entry);
}

std::string ZipArchive::Finish() && {
  const auto directory = static_cast<uint32_t>(bytes_.size());
  for (const Entry& entry : entries_) {
    Put32(kDirectoryHeader, bytes_);
    for (const uint16_t field : {kVersion, kVersion, kUtf8Names, kStored}) Put16(field, bytes_);
    for (const uint32_t field : {kFirstDay, entry.checksum, entry.num_bytes, entry.num_bytes}) Put32(field, bytes_);
    Put16(static_cast<uint16_t>(entry.name.size()), bytes_);
    for (int i = 0; i < 4; ++i) Put16(0, bytes_);  // extra field, comment, disk, internal attributes
    Put32(0, bytes_);                              // external attributes
    Put32(entry.offset, bytes_);
    bytes_ += entry.name;
  }
  const auto directory_bytes = static_cast<uint32_t>(bytes_.size()) - directory;
  const auto num_entries = static_cast<uint16_t>(entries_.size());
  Put32(kDirectoryEnd, bytes_);
  for (const uint16_t field : {uint16_t{0}, uint16_t{0}, num_entries, num_entries}) Put16(field, bytes_);
  Put32(directory_bytes, bytes_);
  Put32(directory, bytes_);
  Put16(0, bytes_);  // no comment
  return std::move(bytes_);
}

}  // namespace latentd
