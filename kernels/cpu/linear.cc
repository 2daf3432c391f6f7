#include "kernels/cpu/linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear.cc"
#include <algorithm>

#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/linear-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

// Rows that share a pass over a panel: as many as a product takes, fewer where there would be too few items to keep all
// threads busy. Not below 48: decoding the panel again would cost more than idling.
int RowsPerItem(int num_rows, int num_panels, int num_threads) {
  int rows = cpu::kMaxProductRows;
  while (rows > 48 && (num_rows + rows - 1) / rows * num_panels < 4 * num_threads) rows /= 2;
  return rows;
}

void Linear(ThreadPool& pool, const cpu::ProductRows& x, const cpu::PackedMatrix& w, Tensor out) {
  const int rows_per_item = RowsPerItem(out.rows, w.num_panels(), pool.num_threads());
  const int chunks = (out.rows + rows_per_item - 1) / rows_per_item;
  const int num_items = w.num_panels() * chunks;
  pool.ForEach(num_items, [&](int item, int) {
    const int first_row = item % chunks * rows_per_item;
    const int num_rows = std::min(rows_per_item, out.rows - first_row);
    const int next_item = ThreadPool::NextItem(item, num_items);
    const std::byte* const next = next_item >= 0 ? w.Panel(next_item / chunks) : nullptr;
    StorePanelProduct(
        w, item / chunks, x.From(first_row), num_rows, [&](int r) { return out.Row(first_row + r); }, next);
  });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(Linear);

void Linear(ThreadPool& pool, const ProductRows& x, const PackedMatrix& w, Tensor out) {
  HWY_DYNAMIC_DISPATCH(Linear)(pool, x, w, out);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
