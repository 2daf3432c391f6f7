// Requests from a file with one JSON object per line: "prompt" (text) or "token_ids", and optionally "max_tokens",
// "ignore_eos", "sampling" (the fields of latentd.v1.Sampling by their names) and "max_drafts".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "latentd/v1/generation.pb.h"

namespace latentd {

// `name` stands in messages together with the line's number. Blank lines are passed over.
absl::StatusOr<std::vector<v1::GenerateRequest>> ParseJsonl(std::string_view contents, std::string_view name);

absl::StatusOr<std::vector<v1::GenerateRequest>> ReadJsonl(const std::string& file);

}  // namespace latentd
