// What the engine produced, as the messages of generation.proto. Pure functions.
#pragma once

#include <string_view>

#include "engine/stream/token_stream.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/request_validation.h"

namespace latentd {

struct StartedFacts {
  std::string_view request_id;
  int prompt_tokens = 0;
  int cached_tokens = 0;
  const ValidRequest& request;
  const v1::Model& model;
};
v1::Started MakeStarted(const StartedFacts& facts);

// Merges into what the Delta already holds, which is of the same answer.
void AppendToDelta(const StreamChunk& chunk, const OutputChoice& output, v1::Delta* delta);
void AppendPositions(const StreamChunk& chunk, v1::ScoreResult* result);

v1::SequenceEnd MakeSequenceEnd(int index, const AnswerEnd& end);
v1::Completed MakeCompleted(const StreamEnd& end);
v1::Timings MakeTimings(const StreamEnd& end);

}  // namespace latentd
