// How rows lie in the inputs of a batch: of a step, and of the passes that draft behind it.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/batch.h"

namespace latentd {

// Leaves nothing in the lists, and their memory.
void Clear(BatchInputs& inputs);

// The next row of the batch, with its block table. `row` says its positions and keys; where its tokens and its table
// lie is filled in. As many AddToken as it has tokens must follow.
void BeginRow(BatchRow row, std::span<const int32_t> table, BatchInputs& inputs);

// The next token of the row that was begun last, in the slot of its position.
void AddToken(int32_t id, BatchInputs& inputs);

}  // namespace latentd
