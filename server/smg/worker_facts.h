// What VllmEngine tells of this server, from what latentd.v1 tells. Pure functions.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "latentd/v1/admin.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/process/serving_state.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {

vllm::grpc::engine::HealthCheckResponse HealthOf(const ServingState::View& view);

// `model_directory` is where another process on this machine would find the tokenizer.
vllm::grpc::engine::GetModelInfoResponse ModelInfoOf(const v1::Model& model, const std::string& model_directory);

// {"temperature":0.6,"top_p":0.95}: what requests leave out, where that is other than what changes nothing.
std::string DefaultSamplingJson(const v1::SamplingDefaults& defaults);

vllm::grpc::engine::SchedulerLoad SchedulerLoadOf(const v1::Load& load, const v1::ModelLimits& limits);

// "2026-12-01T03:04:05Z".
std::string Iso8601(std::chrono::system_clock::time_point time);

}  // namespace latentd
