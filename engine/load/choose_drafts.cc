#include "engine/load/choose_drafts.h"

#include <absl/status/status.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "engine/model/checkpoint/packed_file.h"
#include "engine/step/draft_row.h"

namespace latentd {
namespace {

constexpr char kNoLayer[] = "the checkpoint has no layer that predicts further tokens";

std::string PackAgain() {
  return absl::StrFormat(
      "%s was packed without the layer that predicts further tokens; pack the source again with this version's "
      "latent-convert",
      kPackedFileName);
}

absl::StatusOr<int> MostDrafts(const std::string& speculate) {
  if (speculate == "off") return 0;
  if (speculate == "auto") return kMaxDrafts;
  int number = 0;
  if (absl::SimpleAtoi(speculate, &number) && number >= 1 && number <= kMaxDrafts) return number;
  return absl::InvalidArgumentError(absl::StrFormat("speculate: expected auto, off or a number from 1 to %d, found %s",
                                                    kMaxDrafts, Quoted(speculate)));
}

}  // namespace

absl::StatusOr<ChosenDrafts> ChooseDrafts(const LoadOptions& options, const Checkpoint& checkpoint) {
  const absl::StatusOr<int> most = MostDrafts(options.speculate);
  if (!most.ok()) return most.status();
  const bool is_auto = options.speculate == "auto";
  if (*most == 0) return ChosenDrafts{.max_drafts = 0, .reason = "off (speculate=off)", .warning = {}};
  if (checkpoint.can_draft()) {
    return ChosenDrafts{.max_drafts = *most,
                        .reason = absl::StrFormat("at most %d tokens are drafted ahead of a sequence%s", *most,
                                                  is_auto ? ", as many as pay" : ""),
                        .warning = {}};
  }
  const bool lost_it = checkpoint.num_mtp_layers() > 0;
  if (!is_auto) {
    return absl::InvalidArgumentError(
        lost_it ? absl::StrFormat("speculate=%d: %s, or set speculate=off", *most, PackAgain())
                : absl::StrFormat("speculate=%d: %s; set speculate=auto or off", *most, kNoLayer));
  }
  return ChosenDrafts{.max_drafts = 0,
                      .reason = absl::StrFormat("off (%s)", lost_it ? "it was packed without the layer" : kNoLayer),
                      .warning = lost_it ? PackAgain() + ", or set speculate=off: nothing is drafted" : ""};
}

}  // namespace latentd
