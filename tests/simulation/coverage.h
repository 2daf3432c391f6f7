// What happened in how many worlds: so that a simulation in which nothing goes wrong, because nothing happens, shows.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace latentd::simulation {

enum class Counted : uint8_t {
  kWorlds,
  kRequests,
  kAdmitted,
  kSteps,
  kRows,
  kTokens,
  kEvents,
  kRefusedFullQueue,
  kRefusedQueueTokens,
  kRefusedTenantQuota,
  kRefusedSloUnattainable,
  kRefusedDraining,
  kRefusedNeverFits,
  kEndedByEos,
  kEndedByStopString,
  kEndedByStopToken,
  kEndedByMaxTokens,
  kEndedByContextLimit,
  kScored,
  kCancelled,
  kAborted,
  kExpiredInQueue,
  kExpiredInPrefill,
  kExpiredInDecode,
  kSloUnattainable,
  kSlowConsumers,
  kNonFinite,
  kDrained,
  kPauses,
  kResumes,
  kMergedChunks,
  kLateCommands,
  kVanished,
  kCommandsInSteps,
  kRetired,
  kHits,
  kHitTokens,
  kTailCopies,
  kEvictions,
  kPreemptedForBlocks,
  kPreemptedForPriority,
  kResumedAfterPreemption,
  kRecomputedTokens,
  kForks,
  kKept,
  kLostToSalt,
  kLostToEviction,
  kCollidingWorlds,
  kWorldsWithoutCache,
  kDraftingWorlds,
  kDraftedTokens,
  kAcceptedDrafts,
  kEndsAmongDrafts,
  kWindowsBegun,
  kWindowsContinued,
  kStatesAgain,
  // As FaultKind.
  kCancel,
  kAbort,
  kVanish,
  kStall,
  kNonFiniteRow,
  kLongStep,
  kLatePublisher,
  kClockJump,
  kDescribe,
  kFlush,
  kStopAdmitting,
  kEndAll,
};
inline constexpr size_t kNumCounted = static_cast<size_t>(Counted::kEndAll) + 1;

std::string_view NameOf(Counted counted);
// How often it has to happen in a thousand worlds, so that what they show is worth something.
uint64_t LeastOf(Counted counted);

class Coverage {
 public:
  void Add(Counted counted, uint64_t count = 1) { counts_[static_cast<size_t>(counted)] += count; }
  void Add(const Coverage& other) {
    for (size_t i = 0; i < kNumCounted; ++i) counts_[i] += other.counts_[i];
  }
  uint64_t of(Counted counted) const { return counts_[static_cast<size_t>(counted)]; }
  // "1234 requests, …" in the order of the list.
  std::string ToString() const;

 private:
  std::array<uint64_t, kNumCounted> counts_{};
};

}  // namespace latentd::simulation
