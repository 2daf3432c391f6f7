#include "engine/model/checkpoint/lent_matrix.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/fingerprint.h"
#include "engine/model/checkpoint/value_scan.h"

namespace latentd {

void ReadRecord::Count(uint64_t num_bytes) {
  const uint64_t read_bytes = read_bytes_.fetch_add(num_bytes, std::memory_order_relaxed) + num_bytes;
  if (on_read_) on_read_(read_bytes, total_bytes_);
}

void ReadRecord::KeepFault(const StoredValues& values, size_t index) {
  const std::lock_guard lock(mutex_);
  if (!fault_.ok() && std::tie(fault_tensor_, fault_index_) <= std::tie(values.tensor, index)) return;
  fault_ = values.NotFinite(index);
  fault_tensor_ = values.tensor;
  fault_index_ = index;
}

absl::Status ReadRecord::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

absl::Status ReadRecord::TakeFault() {
  const std::lock_guard lock(mutex_);
  return std::exchange(fault_, absl::OkStatus());
}

uint64_t SampledDigest(std::span<const std::byte> bytes, size_t row_bytes, size_t first_row, size_t end_row) {
  constexpr size_t kMostWords = 256;
  constexpr size_t kWordBytes = 8;
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t num_words = (bytes.size() + kWordBytes - 1) / kWordBytes;
  const size_t num_sampled = std::min(num_words, kMostWords);
  uint64_t digest = 0;
  for (size_t i = 0; i < num_sampled; ++i) {
    const size_t begin = num_words * i / num_sampled * kWordBytes;
    const size_t row = begin / row_bytes;
    if (row < first_row || row >= end_row) continue;
    const size_t num_bytes = std::min(kWordBytes, (row + 1) * row_bytes - begin);
    digest += Fingerprint(text.substr(begin, num_bytes), kFingerprintSeed + i);
  }
  return digest;
}

std::span<const std::byte> MappedValues::Rows(int first_row, int num_rows) const {
  return values.bytes.subspan(static_cast<size_t>(first_row) * row_bytes(),
                              static_cast<size_t>(num_rows) * row_bytes());
}

LentMatrix::LentMatrix(std::vector<MappedValues> parts, ReadRecord& record)
    : parts_(std::move(parts)), record_(record) {
  for (const MappedValues& part : parts_) {
    CHECK_EQ(part.values.shape.size(), 2u);
    CHECK_EQ(part.values.shape[0], parts_[0].values.shape[0]);
  }
}

size_t LentMatrix::row_bytes() const {
  size_t bytes = 0;
  for (const MappedValues& part : parts_) bytes += part.row_bytes();
  return bytes;
}

void LentMatrix::Lend(int first_row, int num_rows) {
  const auto first = static_cast<size_t>(first_row), end = first + static_cast<size_t>(num_rows);
  // Scales are few and lie elsewhere: a disk that is asked for both in turn reads neither ahead.
  parts_[0].file->ReadAhead(parts_[0].Rows(first_row, num_rows));
  if (was_read()) return;
  uint64_t digest = 0;
  for (const MappedValues& part : parts_) {
    const StoredValues& values = part.values;
    // Another factor for each part: exchanging their bytes must not give the same sum.
    digest = digest * 3 + SampledDigest(values.bytes, part.row_bytes(), first, end);
    if (const std::optional<size_t> fault = FindNonFinite(values.dtype, part.Rows(first_row, num_rows))) {
      record_.KeepFault(values, first * static_cast<size_t>(values.shape[1]) + *fault);
    }
  }
  digest_ += digest;
}

void LentMatrix::TakeBack(int /*first_row*/, int num_rows) {
  const uint64_t num_bytes = row_bytes() * static_cast<uint64_t>(num_rows);
  const int64_t rows_before = rows_read_.fetch_add(num_rows);
  // was_read() counts rows, so a row lent twice would pass for one that never was.
  const bool each_row_once = rows_before % this->num_rows() + num_rows <= this->num_rows();
  CHECK(each_row_once && "one reading of a matrix lends each of its rows once");
  if (rows_before < this->num_rows()) record_.Count(num_bytes);
  resident_bytes_.fetch_add(num_bytes, std::memory_order_relaxed);
  const uint64_t resident = record_.resident_bytes().fetch_add(num_bytes, std::memory_order_relaxed) + num_bytes;
  const bool is_last = (rows_before + num_rows) % this->num_rows() == 0;
  if (resident < kMostResidentBytes && !is_last) return;
  const uint64_t released = resident_bytes_.exchange(0, std::memory_order_relaxed);
  record_.resident_bytes().fetch_sub(released, std::memory_order_relaxed);
  for (const MappedValues& part : parts_) part.file->Release(part.values.bytes);
}

}  // namespace latentd
