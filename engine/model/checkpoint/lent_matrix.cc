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

LentMatrix::LentMatrix(StoredValues values, const MappedFile& file, ReadRecord& record)
    : values_(std::move(values)), file_(file), record_(record) {
  CHECK_EQ(values_.shape.size(), 2u);
}

std::span<const std::byte> LentMatrix::Rows(int first_row, int num_rows) const {
  return values_.bytes.subspan(static_cast<size_t>(first_row) * row_bytes(),
                               static_cast<size_t>(num_rows) * row_bytes());
}

void LentMatrix::Lend(int first_row, int num_rows) {
  const std::span<const std::byte> rows = Rows(first_row, num_rows);
  file_.ReadAhead(rows);
  if (was_read()) return;
  const auto first = static_cast<size_t>(first_row), end = first + static_cast<size_t>(num_rows);
  digest_ += SampledDigest(values_.bytes, row_bytes(), first, end);
  if (const std::optional<size_t> fault = FindNonFinite(values_.dtype, rows)) {
    record_.KeepFault(values_, first * static_cast<size_t>(values_.shape[1]) + *fault);
  }
}

void LentMatrix::TakeBack(int first_row, int num_rows) {
  const uint64_t num_bytes = Rows(first_row, num_rows).size();
  const int64_t rows_before = rows_read_.fetch_add(num_rows);
  // was_read() counts rows, so a row lent twice would pass for one that never was.
  const bool each_row_once = rows_before % values_.shape[0] + num_rows <= values_.shape[0];
  CHECK(each_row_once && "one reading of a matrix lends each of its rows once");
  if (rows_before < values_.shape[0]) record_.Count(num_bytes);
  const uint64_t resident = record_.resident_bytes().fetch_add(num_bytes, std::memory_order_relaxed) + num_bytes;
  const bool is_last = (rows_before + num_rows) % values_.shape[0] == 0;
  if (resident < kMostResidentBytes && !is_last) return;
  record_.resident_bytes().store(0, std::memory_order_relaxed);
  file_.Release(values_.bytes);
}

}  // namespace latentd
