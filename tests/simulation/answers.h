// The rules of one request: the ends that the engine gives its sequences, and what its reader gets. Each breaks its
// Rule at once.
#pragma once

#include "base/clock.h"
#include "engine/schedule/sequence_end.h"
#include "engine/stream/token_stream.h"
#include "tests/simulation/life.h"

namespace latentd::simulation {

// When the turn that ended it began and was over.
struct TurnTimes {
  TimePoint begun{};
  TimePoint over{};
};

// `sequence` as it is after the turn's rows.
void CheckEnd(const SequenceEnd& end, const SequenceLife& sequence, const TurnTimes& turn);
// Adds the chunk to what the reader has; with the end of all, each answer must be what its sequence gives alone, or the
// first part of that where something else ended it.
void TakeChunk(StreamChunk chunk, Life& life);

}  // namespace latentd::simulation
