// Defaults for fields that a request leaves out, from the model's generation_config.json and the operator.
#pragma once

#include <string>

#include "engine/model/config/generation_config.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"

namespace latentd {

v1::SamplingDefaults SamplingDefaultsOf(const GenerationDefaults& generation);

// "temperature=0.6, top_p=0.95", for the log.
std::string DescribeDefaults(const v1::SamplingDefaults& defaults);

// The request's parameters with the defaults for those that it leaves out.
v1::Sampling SamplingOf(const v1::GenerateRequest& request, const v1::SamplingDefaults& defaults);
// Only what the request and the file ask for: without either, max_tokens is absent. A default never asks for more than
// the `room` that the prompt leaves, nor for what the request's own fields rule out.
v1::Stopping StoppingOf(const v1::GenerateRequest& request, const v1::SamplingDefaults& defaults, int room);

}  // namespace latentd
