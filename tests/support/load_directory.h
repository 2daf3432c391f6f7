// A model of a directory, within limits that a test spells out: engine/load, which the daemon uses, finds them itself.
#pragma once

#include <filesystem>
#include <memory>

#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/model.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "tests/support/or_die.h"

namespace latentd {

inline std::unique_ptr<Model> LoadDirectory(const std::filesystem::path& directory, const ModelLimits& limits,
                                            Device& device, Ops& ops) {
  const ModelConfig config = OrDie(LoadModelConfig(directory));
  return OrDie(Model::Load(OrDie(Checkpoint::Open(directory, config)), config, limits, device, ops));
}

}  // namespace latentd
