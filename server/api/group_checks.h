// What can be wrong with the groups of fields that requests share, each by itself.
#pragma once

#include <cstdint>
#include <string_view>

#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/field_checks.h"

namespace latentd {

inline constexpr uint32_t kMaxTopLogprobs = 32;  // of each token, beside its own

void CheckSampling(const v1::Sampling& sampling, const v1::Model& model, FieldChecks& checks);
void CheckStopping(const v1::Stopping& stopping, const v1::Model& model, FieldChecks& checks);
void CheckConstraint(const v1::Constraint& constraint, FieldChecks& checks);
void CheckOutput(const v1::Output& output, const v1::Model& model, FieldChecks& checks);
void CheckCache(const v1::Cache& cache, FieldChecks& checks);
void CheckScheduling(const v1::Scheduling& scheduling, FieldChecks& checks);
void CheckSpeculation(const v1::Speculation& speculation, FieldChecks& checks);
void CheckRequestId(std::string_view request_id, FieldChecks& checks);

}  // namespace latentd
