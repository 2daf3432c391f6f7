// A matrix of a mapped file as it is lent to the backend that packs it, the scales of its rows with it. Bytes cross
// memory once: as a stretch of rows is lent, the disk is asked for what comes next and the stretch is searched for
// values that no healthy checkpoint has, so that packing finds it in the core's cache; as it comes back, it is counted,
// and now and then its pages are given up, so that they never stand beside the packed copy. Any thread.
//
// A reading lends each row once, in any order and from several threads; the next one of the same matrix begins when all
// rows are back. One that lends a row twice, or breaks off, stops the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "base/mapped_file.h"
#include "engine/model/checkpoint/stored_values.h"
#include "kernels/row_lender.h"

namespace latentd {

// Called as bytes have been read and checked, from any thread: how many so far, and of how many.
using OnRead = std::function<void(uint64_t read_bytes, uint64_t total_bytes)>;

// State that the matrices of one checkpoint share while they are read.
class ReadRecord {
 public:
  ReadRecord(uint64_t total_bytes, OnRead on_read) : total_bytes_(total_bytes), on_read_(std::move(on_read)) {}

  void Count(uint64_t num_bytes);
  // Bytes that were read and whose pages were not yet given up, of all matrices.
  std::atomic<uint64_t>& resident_bytes() { return resident_bytes_; }

  // Keeps the first of several faults by name, then by place, so that the choice does not depend on threads.
  void KeepFault(const StoredValues& values, size_t index);
  absl::Status fault() const;
  absl::Status TakeFault();

 private:
  const uint64_t total_bytes_;
  const OnRead on_read_;
  std::atomic<uint64_t> read_bytes_{0};
  std::atomic<uint64_t> resident_bytes_{0};

  mutable std::mutex mutex_;
  absl::Status fault_;
  std::string fault_tensor_;
  size_t fault_index_ = 0;
};

// A digest of at most 256 words of 8 bytes, evenly spaced over all of `bytes` and cut where a row ends: the part of
// those that begin within the rows [first_row, end_row). The parts of a tensor add up in any order.
uint64_t SampledDigest(std::span<const std::byte> bytes, size_t row_bytes, size_t first_row, size_t end_row);

// Two-dimensional values and the file that they lie in.
struct MappedValues {
  StoredValues values;
  const MappedFile* file = nullptr;

  size_t row_bytes() const { return values.bytes.size() / static_cast<size_t>(values.shape[0]); }
  std::span<const std::byte> Rows(int first_row, int num_rows) const;
};

class LentMatrix final : public RowLender {
 public:
  // The second part of an INT4 weight is its group scales, a row for each of the weight's. Files and record must
  // outlive it.
  LentMatrix(std::vector<MappedValues> parts, ReadRecord& record);

  void Lend(int first_row, int num_rows) override;
  void TakeBack(int first_row, int num_rows) override;

  // Whether every row was lent. One that is packed twice, as a tied embedding is, is checked and counted once.
  bool was_read() const { return rows_read_ >= num_rows(); }
  uint64_t digest() const { return digest_; }  // of all parts, once they were read
  int num_rows() const { return static_cast<int>(parts_[0].values.shape[0]); }
  size_t row_bytes() const;

  static constexpr uint64_t kMostResidentBytes = uint64_t{16} << 20;

 private:
  const std::vector<MappedValues> parts_;
  ReadRecord& record_;
  std::atomic<int64_t> rows_read_{0};
  std::atomic<uint64_t> digest_{0};
  std::atomic<uint64_t> resident_bytes_{0};  // its part of the record's
};

}  // namespace latentd
