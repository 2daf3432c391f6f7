#include "server/api/drawable_tokens.h"

#include <algorithm>

#include <absl/container/flat_hash_set.h>

namespace latentd {
namespace {

// What must not be drawn before min_tokens.
absl::flat_hash_set<uint32_t> EndsOf(const v1::Stopping& stopping, const v1::Model& model) {
  absl::flat_hash_set<uint32_t> ends;
  if (stopping.min_tokens() == 0) return ends;
  ends.insert(stopping.stop_token_ids().begin(), stopping.stop_token_ids().end());
  if (!stopping.ignore_eos()) ends.insert(model.eos_token_ids().begin(), model.eos_token_ids().end());
  return ends;
}

}  // namespace

void CheckSomethingCanBeDrawn(const v1::GenerateRequest& groups, const v1::Model& model,
                              absl::FunctionRef<bool(int32_t)> has_token, FieldChecks& checks) {
  const absl::flat_hash_set<uint32_t> ends = EndsOf(groups.stopping(), model);
  const auto& allowed = groups.sampling().allowed_token_ids();
  const auto exists = [&](uint32_t id) { return has_token(static_cast<int32_t>(id)); };
  const auto can_be_drawn = [&](uint32_t id) { return exists(id) && !ends.contains(id); };
  if (allowed.empty()) {
    for (uint32_t id = 0; id < model.vocab_size(); ++id) {
      if (can_be_drawn(id)) return;
    }
    checks.Invalid("stopping.min_tokens", "expected 0 where every token of the model ends the answer");
  } else if (std::none_of(allowed.begin(), allowed.end(), exists)) {
    checks.Invalid("sampling.allowed_token_ids", "expected at least one id that stands for a token, found none");
  } else if (std::none_of(allowed.begin(), allowed.end(), can_be_drawn)) {
    checks.Invalid("stopping.min_tokens", "expected 0 where each of sampling.allowed_token_ids ends the answer");
  }
}

}  // namespace latentd
