// VllmEngine.Generate's requests, in the words of latentd.v1. Each field is honoured or refused by name, one that
// proto/smg/vllm_engine.proto does not have included. Pure functions.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/api/served_model.h"

namespace latentd {

struct SmgGenerate {
  v1::GenerateRequest request = {};
  bool is_streamed = false;  // chunks ahead of each complete answer
};
absl::StatusOr<SmgGenerate> ReadSmgGenerate(MessageBytes bytes, const ServedModel& model);

// A status that latentd.v1's checks made of such a request, with the fields under the names that its client knows.
absl::Status WithSmgFieldNames(const absl::Status& status);

}  // namespace latentd
