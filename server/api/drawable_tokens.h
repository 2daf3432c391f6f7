// Whether masks leave a request anything to draw: allowed ids, ids that stand for nothing, and what ends the answer
// while min_tokens holds it back. Pure functions, linear in the lists, ended by the first id that may be drawn.
#pragma once

#include <cstdint>

#include <absl/functional/function_ref.h>

#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/field_checks.h"

namespace latentd {

// For groups whose lists are valid.
void CheckSomethingCanBeDrawn(const v1::GenerateRequest& groups, const v1::Model& model,
                              absl::FunctionRef<bool(int32_t)> has_token, FieldChecks& checks);

}  // namespace latentd
