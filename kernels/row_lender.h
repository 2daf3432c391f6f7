// The seam between who has a weight's bytes and the backend that packs them: the backend borrows the rows that it is
// about to read, so that their owner can bring, check and count them once, and take them back.
#pragma once

#include "kernels/tensor.h"

namespace latentd {

class PackedBytes;

// Called from any thread of the backend; every row of a weight is lent once, in stretches of any order.
class RowLender {
 public:
  virtual ~RowLender() = default;
  // Not null where it has the weight packed already, and no rows to lend.
  virtual PackedBytes* packed() { return nullptr; }
  virtual void Lend(int first_row, int num_rows) = 0;
  virtual void TakeBack(int first_row, int num_rows) = 0;
};

// Rows [first, first + count) of a source, for as long as this lives.
class BorrowedRows {
 public:
  BorrowedRows(const MatrixSource& source, int first, int count)
      : lender_(source.lender), first_(first), count_(count) {
    if (lender_ != nullptr) lender_->Lend(first_, count_);
  }
  BorrowedRows(const BorrowedRows&) = delete;
  BorrowedRows& operator=(const BorrowedRows&) = delete;
  ~BorrowedRows() {
    if (lender_ != nullptr) lender_->TakeBack(first_, count_);
  }

 private:
  RowLender* const lender_;
  const int first_;
  const int count_;
};

}  // namespace latentd
