// How far the model may draft ahead: what the option speculate means with this checkpoint.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "engine/load/load_options.h"
#include "engine/model/checkpoint/checkpoint.h"

namespace latentd {

struct ChosenDrafts {
  int max_drafts = 0;   // of one sequence in a step; 0: the layer that drafts is not loaded
  std::string reason;   // for the log
  std::string warning;  // what to do about a checkpoint that has the layer and can't draft; empty: nothing

  MtpUse mtp() const { return max_drafts > 0 ? MtpUse::kDraft : MtpUse::kNone; }
};

// INVALID_ARGUMENT for another text than the option's, and where drafts were asked for that the checkpoint can't make.
absl::StatusOr<ChosenDrafts> ChooseDrafts(const LoadOptions& options, const Checkpoint& checkpoint);

}  // namespace latentd
