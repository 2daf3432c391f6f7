// Configurations as published and with single values changed, as a model's directory would hold them.
#pragma once

#include <optional>

#include <absl/status/statusor.h>
#include <nlohmann/json.hpp>

#include "engine/model/config/model_config.h"
#include "tests/engine/model/config/published_configs.h"
#include "tests/support/temporary_directory.h"

namespace latentd {

inline absl::StatusOr<ModelConfig> Load(const nlohmann::json& config,
                                        const std::optional<nlohmann::json>& generation = std::nullopt) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "config.json", config.dump());
  if (generation) WriteFile(directory.path() / "generation_config.json", generation->dump());
  return LoadModelConfig(directory.path());
}

inline nlohmann::json V3() { return nlohmann::json::parse(kV3Json); }

inline nlohmann::json V3With(const char* pointer, const nlohmann::json& value) {
  nlohmann::json config = V3();
  config[nlohmann::json::json_pointer(pointer)] = value;
  return config;
}

}  // namespace latentd
