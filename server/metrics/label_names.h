// Label values of the enums by which the process counts, each beside its enumerator and in the order of the enum: a
// name that is missing or stands elsewhere does not compile. Constant; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "engine/metrics.h"
#include "server/access/authority.h"
#include "server/api/enumerators.h"
#include "server/net/connection_table.h"
#include "server/net/frame_guard.h"

namespace latentd {

template <class Enum>
struct LabelName {
  Enum value;
  const char* name;
};

template <class Enum, size_t kCount>
consteval bool NamesAll(const LabelName<Enum> (&names)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) {
    if (static_cast<size_t>(names[i].value) != i) return false;
  }
  return HasEnumerators<Enum, kCount>();
}

inline constexpr LabelName<Phase> kPhaseNames[] = {
    {Phase::kQueued, "queued"},
    {Phase::kPrefill, "prefill"},
    {Phase::kDecode, "decode"},
    {Phase::kOutput, "output"},
};
static_assert(NamesAll(kPhaseNames));

inline constexpr LabelName<WaitReason> kWaitReasonNames[] = {
    {WaitReason::kRows, "rows"},
    {WaitReason::kTokens, "tokens"},
    {WaitReason::kBlocks, "blocks"},
    {WaitReason::kLogits, "logits"},
};
static_assert(NamesAll(kWaitReasonNames));

inline constexpr LabelName<PreemptionReason> kPreemptionReasonNames[] = {
    {PreemptionReason::kBlocks, "blocks"},
    {PreemptionReason::kPriority, "priority"},
};
static_assert(NamesAll(kPreemptionReasonNames));

inline constexpr LabelName<PrefixLoss> kPrefixLossNames[] = {
    {PrefixLoss::kGranularity, "granularity"},
    {PrefixLoss::kEviction, "eviction"},
    {PrefixLoss::kSalt, "salt"},
};
static_assert(NamesAll(kPrefixLossNames));

inline constexpr LabelName<KvReplay> kKvReplayNames[] = {
    {KvReplay::kWhole, "whole"},
    {KvReplay::kSnapshot, "snapshot"},
    {KvReplay::kUnread, "unread"},
    {KvReplay::kMalformed, "malformed"},
};
static_assert(NamesAll(kKvReplayNames));

inline constexpr LabelName<StepKind> kStepKindNames[] = {
    {StepKind::kPrefill, "prefill"},
    {StepKind::kDecode, "decode"},
    {StepKind::kMixed, "mixed"},
};
static_assert(NamesAll(kStepKindNames));

inline constexpr LabelName<ServerState> kServerStateNames[] = {
    {ServerState::kLoading, "loading"},
    {ServerState::kServing, "serving"},
    {ServerState::kStalled, "stalled"},
    {ServerState::kDraining, "draining"},
};
static_assert(NamesAll(kServerStateNames));

inline constexpr LabelName<StartupStage> kStartupStageNames[] = {
    {StartupStage::kConfig, "config"},
    {StartupStage::kTokenizer, "tokenizer"},
    {StartupStage::kWeights, "weights"},
    {StartupStage::kTotal, "total"},
};
static_assert(NamesAll(kStartupStageNames));

inline constexpr LabelName<SpanFate> kSpanFateNames[] = {
    {SpanFate::kExported, "exported"},
    {SpanFate::kQueueFull, "queue_full"},
    {SpanFate::kRejected, "rejected"},
    {SpanFate::kFailed, "failed"},
};
static_assert(NamesAll(kSpanFateNames));

inline constexpr LabelName<ListenerKind> kListenerNames[] = {
    {ListenerKind::kApi, "api"},
    {ListenerKind::kAdmin, "admin"},
};
static_assert(NamesAll(kListenerNames));

inline constexpr LabelName<AccessPoint> kAccessPointNames[] = {
    {AccessPoint::kApi, "api"},
    {AccessPoint::kAdmin, "admin"},
    {AccessPoint::kMetrics, "metrics"},
};
static_assert(NamesAll(kAccessPointNames) && std::size(kAccessPointNames) == kNumAccessPoints);

inline constexpr LabelName<ConnectionRefusal> kConnectionRefusalNames[] = {
    {ConnectionRefusal::kProcessLimit, "process_limit"},
    {ConnectionRefusal::kPeerLimit, "peer_limit"},
    {ConnectionRefusal::kDescriptors, "descriptors"},
};
static_assert(NamesAll(kConnectionRefusalNames));

inline constexpr LabelName<Offence> kOffenceNames[] = {
    {Offence::kHeaderBlock, "header_block"},
    {Offence::kHeaderBytes, "header_bytes"},
    {Offence::kControlFrames, "control_frames"},
    {Offence::kPings, "pings"},
    {Offence::kStreams, "streams"},
    {Offence::kUnaskedBytes, "unasked_bytes"},
    {Offence::kUploads, "uploads"},
};
static_assert(NamesAll(kOffenceNames));

}  // namespace latentd
