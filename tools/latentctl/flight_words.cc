#include "tools/latentctl/flight_words.h"

#include <array>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "engine/schedule/finish_reason.h"
#include "engine/schedule/wait_reason.h"

namespace latentd {
namespace {

constexpr std::array<std::string_view, kNumFlightDecisions> kNames = {
    "submit", "admit", "chunk",  "hit",    "copy",       "publish", "preempt", "evict",
    "finish", "pause", "resume", "cancel", "cancel_all", "flush",   "wait",    "step"};

std::string Number(int32_t value) { return absl::StrCat("reason ", value); }

// The enumerator, or nothing where the number is none of a byte.
template <class Reason>
bool IsByte(int32_t value, Reason& reason) {
  reason = static_cast<Reason>(value & 0xff);
  return value >= 0 && value <= 0xff;
}

// With thousands apart.
std::string Grouped(uint64_t number) {
  std::string text = absl::StrCat(number);
  for (size_t place = text.size(); place > 3;) {
    place -= 3;
    text.insert(place, ",");
  }
  return text;
}

std::string Counted(int32_t count, std::string_view noun) {
  return count >= 0 ? CountText(static_cast<uint32_t>(count), noun) : absl::StrFormat("%d %ss", count, noun);
}
std::string Tokens(int32_t count) { return Counted(count, "token"); }
std::string Blocks(int32_t count) { return Counted(count, "block"); }

std::string SubmitText(const std::array<int32_t, 4>& numbers) {
  const auto [prompt, most, priority, sequences] = numbers;
  std::string text = absl::StrFormat("submitted: prompt of %s, at most %d to generate", Tokens(prompt), most);
  if (priority != 0) absl::StrAppendFormat(&text, ", priority %+d", priority);
  if (sequences > 1) absl::StrAppendFormat(&text, ", %d sequences", sequences);
  return text;
}

std::string HitText(const std::array<int32_t, 4>& numbers) {
  const auto [cached, blocks, evicted, salted] = numbers;
  std::string text =
      absl::StrFormat("found %s in the prefix cache (%s)", Tokens(cached), Counted(blocks, "whole block"));
  if (evicted > 0) absl::StrAppendFormat(&text, "; %s more were evicted", Tokens(evicted));
  if (salted > 0) absl::StrAppendFormat(&text, "; %s more have another salt", Tokens(salted));
  return text;
}

std::string StepText(const std::array<int32_t, 4>& numbers) {
  const auto [rows, tokens, micros, decoding] = numbers;
  return absl::StrFormat("step of %s in %s, %d decoding, in %.3f ms", Tokens(tokens), Counted(rows, "row"), decoding,
                         micros * 1e-3);
}

}  // namespace

std::string CountText(uint64_t count, std::string_view noun) {
  return absl::StrFormat("%s %s%s", Grouped(count), noun, count == 1 ? "" : "s");
}

std::string FinishText(int32_t value) {
  FinishReason reason;
  if (!IsByte(value, reason)) return Number(value);
  switch (reason) {
    case FinishReason::kEos:
      return "end of sequence";
    case FinishReason::kStopString:
      return "stop string";
    case FinishReason::kStopToken:
      return "stop token";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextLimit:
      return "context limit";
    case FinishReason::kScored:
      return "scored";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kAborted:
      return "aborted";
    case FinishReason::kExpiredInQueue:
      return "expired in the queue";
    case FinishReason::kExpiredInPrefill:
      return "expired in prefill";
    case FinishReason::kExpiredInDecode:
      return "expired in decode";
    case FinishReason::kSloUnattainable:
      return "ttft_slo out of reach";
    case FinishReason::kSlowConsumer:
      return "slow consumer";
    case FinishReason::kNonFiniteLogits:
      return "non-finite logits";
    case FinishReason::kDraining:
      return "draining";
  }
  return Number(value);
}

std::string WaitText(int32_t value) {
  WaitReason reason;
  if (!IsByte(value, reason)) return Number(value);
  switch (reason) {
    case WaitReason::kRows:
      return "rows";
    case WaitReason::kTokens:
      return "tokens";
    case WaitReason::kBlocks:
      return "blocks";
    case WaitReason::kLogits:
      return "logits";
  }
  return Number(value);
}

std::string PreemptionText(int32_t value) { return value == 0 ? "blocks" : value == 1 ? "priority" : Number(value); }

std::string_view DecisionName(FlightDecision decision) { return kNames[static_cast<size_t>(decision)]; }

std::string DecisionText(const FlightEntry& entry) {
  const auto [first, second, third, fourth] = entry.numbers;
  switch (entry.decision) {
    case FlightDecision::kSubmit:
      return SubmitText(entry.numbers);
    case FlightDecision::kAdmit:
      return absl::StrFormat("admitted: %s cached, computes from %d, holds %s", Tokens(first), second, Blocks(third));
    case FlightDecision::kChunk:
      return absl::StrFormat("prefill of %s from %d", Tokens(second), first);
    case FlightDecision::kHit:
      return HitText(entry.numbers);
    case FlightDecision::kCopy:
      return absl::StrFormat("copies %s of block %d to block %d", Counted(third, "slot"), first, second);
    case FlightDecision::kPublish:
      return absl::StrFormat("%s can be found by others", Tokens(first));
    case FlightDecision::kPreempt:
      return absl::StrFormat("preempted for %s: %s computed, %s given back", PreemptionText(first), Tokens(second),
                             Blocks(third));
    case FlightDecision::kEvict:
      return absl::StrFormat("block %d evicted", first);
    case FlightDecision::kFinish:
      return absl::StrFormat("finished, %s: %s generated, %d computed", FinishText(first), Tokens(second), third);
    case FlightDecision::kPause:
      return absl::StrFormat("paused with %s computed", Tokens(first));
    case FlightDecision::kResume:
      return absl::StrFormat("resumed with %s computed", Tokens(first));
    case FlightDecision::kCancel:
      return absl::StrFormat("its end is asked for: %s", FinishText(first));
    case FlightDecision::kCancelAll:
      return absl::StrFormat("the end of all is asked for: %s", FinishText(first));
    case FlightDecision::kFlush:
      return absl::StrFormat("prefix cache flushed, %s free again", Blocks(first));
    case FlightDecision::kWait:
      return absl::StrFormat("left %s waiting for %s", Counted(second, "sequence"), WaitText(first));
    case FlightDecision::kStep:
      return StepText(entry.numbers);
  }
  return "";
}

}  // namespace latentd
