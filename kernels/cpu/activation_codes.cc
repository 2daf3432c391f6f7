#include "kernels/cpu/activation_codes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation_codes.cc"
#include <hwy/foreach_target.h>  // before the vectors: compiles what follows once per target

#include "kernels/cpu/activation_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace latentd::HWY_NAMESPACE {

void FillCodesOfRows(ThreadPool& pool, const Activation& activation) {
  pool.ForEach(activation.values.rows, [&](int row, int) HWY_ATTR { FillCodes(activation, row); });
}

}  // namespace latentd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace latentd::cpu {

HWY_EXPORT(FillCodesOfRows);

void FillCodes(ThreadPool& pool, const Activation& activation) {
  if (activation.codes == nullptr) return;
  HWY_DYNAMIC_DISPATCH(FillCodesOfRows)(pool, activation);
}

}  // namespace latentd::cpu
#endif  // HWY_ONCE
