// The ceiling of products on tiles, as those of machine_roofs.h, and what is held against it.
#pragma once

#include <string_view>

#include "kernels/op_cost.h"
#include "kernels/tensor.h"

namespace latentd {

// How many of a verb's FLOPs tiles compute where there are any. Not yet among them are those of INT4 weights, of
// attention's scores and of P·V.
double TileFlops(std::string_view verb, const OpCost& cost, ActivationFormat activations);

// bf16 products of tiles that stay in the unit, in flop/s; 0 where there is no unit.
double MeasureTilePeak(int num_threads);

}  // namespace latentd
