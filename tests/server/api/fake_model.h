// The description of a model that a FakeExecutor plays, for services that run in the test's own process.
#pragma once

#include <cstdint>

#include "server/api/served_model.h"

namespace latentd {

struct FakeModelLimits {
  int vocab_size = 1000;
  int context = 1024;
  int num_blocks = 101;
};

inline ServedModel FakeModel(const FakeModelLimits& limits) {
  ServedModel model;
  v1::Model& description = model.description;
  description.set_name("fake");
  description.set_vocab_size(static_cast<uint32_t>(limits.vocab_size));
  description.set_context_length(static_cast<uint32_t>(limits.context));
  description.mutable_limits()->set_max_context_tokens(static_cast<uint32_t>(limits.context));
  description.mutable_limits()->set_kv_blocks(static_cast<uint32_t>(limits.num_blocks));
  description.mutable_sampling_defaults()->set_temperature(1.0f);
  description.mutable_sampling_defaults()->set_top_p(1.0f);
  return model;
}

}  // namespace latentd
