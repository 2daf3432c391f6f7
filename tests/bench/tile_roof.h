// The ceiling of products on tiles, as those of machine_roofs.h.
#pragma once

namespace latentd {

// bf16 products of tiles that stay in the unit, in flop/s; 0 where there is no unit.
double MeasureTilePeak(int num_threads);

}  // namespace latentd
