// The numbers of v1::Sampling that have a default, in one table: how they are checked, what stands in for one that a
// request leaves out, how they reach the engine and how a generation_config.json sets them. A new number is a field of
// v1::Sampling and v1::SamplingDefaults, a member of SamplingRule and a row here. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "engine/model/config/generation_config.h"
#include "engine/request.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/field_checks.h"

namespace latentd {

void CheckNumbers(const v1::Sampling& sampling, FieldChecks& checks);

// Fills in those that the request left out.
void ResolveNumbers(const v1::SamplingDefaults& defaults, v1::Sampling* sampling);

// The rule of parameters that are all there, the seed included.
SamplingRule RuleOf(const v1::Sampling& sampling);

void SetDefaultNumbers(const GenerationDefaults& generation, v1::SamplingDefaults* defaults);

// "temperature=0.6", …: those that say something.
std::vector<std::string> DescribeNumbers(const v1::SamplingDefaults& defaults);

}  // namespace latentd
