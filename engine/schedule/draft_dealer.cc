#include "engine/schedule/draft_dealer.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "base/check.h"
#include "engine/schedule/block_id.h"
#include "engine/schedule/eviction_watch.h"

namespace latentd {
namespace {

// Behind so many tokens of a sequence that may follow at most: the last token it may ever have is drawn, not verified.
int MostBehind(const Sequence& sequence, int num_tokens) { return std::max(0, sequence.most.tokens - num_tokens - 1); }

int NumSlots(const Sequence& sequence) { return sequence.blocks.num_blocks() * kBlockSlots; }

}  // namespace

// By what its request asks for and the model can do: 0 where the layer does not follow it.
int DraftDealer::NumWanted(const Sequence& sequence, const StepAllowance& allowance) const {
  const Request& request = sequence.request;
  if (request.kind != RequestKind::kGenerate) return 0;
  return std::min(request.max_drafts == kAutoDrafts ? allowance.auto_drafts : request.max_drafts, options_.max_drafts);
}

int DraftDealer::NumAgain(const Sequence& sequence, int first_position, const StepAllowance& allowance) const {
  const bool goes_on = first_position > 0 && sequence.drafted.to == first_position;
  const bool has_room = options_.chunk_tokens != 1;
  return goes_on && has_room && NumWanted(sequence, allowance) > 0 ? 1 : 0;
}

// ---------------------------------------------------------------------------------------------------------- dealing

int DraftDealer::MostFor(const PlannedRow& row, const StepAllowance& allowance) const {
  const Sequence& sequence = *row.sequence;
  if (sequence.num_drafts == 0) return 0;
  const int most =
      std::min({sequence.num_drafts, NumWanted(sequence, allowance), MostBehind(sequence, sequence.num_tokens())});
  return options_.chunk_tokens > 0 ? std::min(most, options_.chunk_tokens - row.num_tokens) : most;
}

void DraftDealer::Deal(DraftRoom room, const StepAllowance& allowance, BatchPlan& plan) {
  const auto takes_some = [&](const PlannedRow& row) { return MostFor(row, allowance) > 0; };
  auto num_takers = std::count_if(plan.rows.begin(), plan.rows.end(), takes_some);
  for (PlannedRow& row : plan.rows) {
    if (num_takers == 0) return;
    const int most = MostFor(row, allowance);
    if (most <= 0) continue;
    // What one does not take is shared by those behind it.
    const int share = std::max(0, std::min(room.tokens, room.logits)) / static_cast<int>(num_takers--);
    Verify(row, std::min(most, share), allowance, room, plan);
  }
}

void DraftDealer::Verify(PlannedRow& row, int num_drafts, const StepAllowance& allowance, DraftRoom& room,
                         BatchPlan& plan) {
  if (num_drafts <= 0) return;
  Sequence& sequence = *row.sequence;
  Extend(sequence, BlocksFor(row.end_position() + num_drafts), room.blocks);
  num_drafts = std::min(num_drafts, NumSlots(sequence) - row.end_position());
  plan.work += allowance.WorkOf(row.end_position(), num_drafts);
  row.num_drafts = num_drafts;
  row.num_tokens += num_drafts;
  row.num_logits += num_drafts;
  sequence.planned += num_drafts;
  plan.num_tokens += num_drafts;
  plan.num_logits += num_drafts;
  room.tokens -= num_drafts;
  room.logits -= num_drafts;
}

// As far as there are blocks.
void DraftDealer::Extend(Sequence& sequence, int num_blocks, int& num_left) {
  while (sequence.blocks.num_blocks() < num_blocks && num_left > 0) {
    TakeBlock(cache_, sequence.blocks, recorder_);
    --num_left;
  }
}

// Behind the token that it draws at least.
int DraftDealer::MostToDraft(const PlannedRow& row, const StepAllowance& allowance) const {
  if (row.num_logits == 0) return 0;
  const int num_tokens = row.end_position() - row.num_drafts + 1;
  return std::min(NumWanted(*row.sequence, allowance), MostBehind(*row.sequence, num_tokens));
}

void DraftDealer::Follow(int num_blocks, const StepAllowance& allowance, BatchPlan& plan) {
  const auto drafts_some = [&](const PlannedRow& row) { return MostToDraft(row, allowance) > 0; };
  auto num_drafting = std::count_if(plan.rows.begin(), plan.rows.end(), drafts_some);
  int room = std::min(options_.max_step_tokens, options_.max_step_logits) - static_cast<int>(plan.rows.size());
  for (PlannedRow& row : plan.rows) {
    Sequence& sequence = *row.sequence;
    if (NumWanted(sequence, allowance) == 0) continue;
    const bool goes_on = sequence.drafted.to == row.first_position + 1;
    Following following{.first_key = goes_on ? sequence.drafted.from : row.first_position + 1};
    if (const int most = MostToDraft(row, allowance); most > 0) {
      following.num_drafts = std::min(most, std::max(0, room) / static_cast<int>(num_drafting--));
      room -= following.num_drafts;
    }
    const int end = row.end_position() + std::max(1, following.num_drafts);
    Extend(sequence, std::min(BlocksFor(end), sequence.most.blocks), num_blocks);
    sequence.drafted.from = following.first_key;
    // What has no slot is not stored.
    sequence.drafted.to = std::min(row.end_position() + 1, NumSlots(sequence));
    row.following = following;
  }
}

// ------------------------------------------------------------------------------------------------------- committing

void CommitDrafts(const PlannedRow& row) {
  Sequence& sequence = *row.sequence;
  const int num_accepted = row.verdict.num_accepted;
  CHECK(num_accepted >= 0 && num_accepted <= row.num_drafts);
  sequence.TakeDrafts(num_accepted);
  if (row.num_drafts == 0) return;
  sequence.planned -= row.num_drafts - num_accepted;
  sequence.drafted.to = std::min(sequence.drafted.to, row.committed_end() + 1);
  sequence.drafted_tokens += row.num_drafts;
  sequence.accepted_tokens += num_accepted;
}

// -------------------------------------------------------------------------------------------------------- invariants

absl::Status CheckDrafts(const Sequence& sequence, const BlockCache& cache) {
  const auto [from, to] = sequence.drafted;
  const bool has_none = from >= to || sequence.blocks.num_blocks() == 0;
  if (has_none) return absl::OkStatus();
  const bool has_room = from >= kFirstDraftedSlot && to <= std::min(sequence.planned + 1, NumSlots(sequence));
  if (has_room && cache.IsDrafted(sequence.blocks, sequence.drafted)) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("request id %d, sequence %d: drafted from %d to %d with %d tokens planned "
                      "in %d blocks, %d of them published, which may lack some",
                      sequence.request.id, sequence.index, from, to, sequence.planned, sequence.blocks.num_blocks(),
                      sequence.blocks.num_published()));
}

}  // namespace latentd
