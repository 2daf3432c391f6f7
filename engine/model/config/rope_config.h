// How config.json says that positions are rotated, in each of the spellings that are in use: rope_scaling of older
// files, rope_parameters of newer ones, one for all layers or one for each kind of layer.
#pragma once

#include <string>
#include <vector>

#include "base/json_reader.h"
#include "engine/model/config/rope.h"

namespace latentd {

// Tokens of a context. Far above any released model, and low enough that no product of two sizes leaves an int.
inline constexpr Range<int> kContexts = {1, 1 << 24};

// Errors are in `fields`' status. A default that was taken, or a key that nothing reads, is a line of `warnings`.
RopeFacts ReadRope(JsonFields& fields, int max_context, std::vector<std::string>& warnings);

}  // namespace latentd
