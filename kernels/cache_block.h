// The unit in which the cache is handed out and laid out: scheduler and kernels cut a sequence at the same places.
#pragma once

namespace latentd {

inline constexpr int kBlockSlots = 64;  // token slots of one cache block

}  // namespace latentd
