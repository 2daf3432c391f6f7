#include "tests/simulation/replay.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <set>

#include "engine/schedule/block_id.h"
#include "tests/simulation/fake_model.h"

namespace latentd::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr size_t kMostBytes = 1 << 20;  // that a reader leaves pending: it reads at once

// What the entries behind its kSubmit tell of a request.
struct Course {
  int cached_tokens = 0;
  int generated_tokens = -1;  // of its longest answer; -1: none ended by itself
  bool is_score = false;
};

class Replay {
 public:
  explicit Replay(const FlightDump& dump) : dump_(dump) {
    if (!dump.entries.empty()) began_ = dump.entries.front().nanoseconds;
  }

  Scenario Draw() {
    for (const FlightEntry& entry : dump_.entries) Follow(entry);
    for (const FlightEntry& entry : dump_.entries) Add(entry);
    scenario_.most_queued = {.requests = std::numeric_limits<int64_t>::max(),
                             .tokens = std::numeric_limits<int64_t>::max()};
    scenario_.max_backlog_bytes = std::numeric_limits<int64_t>::max();
    SetSizes();
    for (size_t i = 0; i < scenario_.faults.size(); ++i) scenario_.faults[i].number = static_cast<int>(i);
    return std::move(scenario_);
  }

 private:
  Duration At(const FlightEntry& entry) const {
    return std::chrono::duration_cast<Duration>(nanoseconds(entry.nanoseconds - began_));
  }

  void Follow(const FlightEntry& entry) {
    Course& course = courses_[entry.request];
    if (entry.decision == FlightDecision::kAdmit && entry.index == 0) {
      course.cached_tokens = std::max(course.cached_tokens, entry.numbers[0]);
    }
    if (entry.decision != FlightDecision::kFinish) return;
    const auto reason = static_cast<FinishReason>(entry.numbers[0]);
    course.is_score = course.is_score || reason == FinishReason::kScored;
    if (IsSuccess(reason)) course.generated_tokens = std::max(course.generated_tokens, entry.numbers[1]);
  }

  void Add(const FlightEntry& entry) {
    switch (entry.decision) {
      case FlightDecision::kSubmit:
        return AddRequest(entry);
      case FlightDecision::kCancel: {
        const auto found = numbers_.find(entry.request);
        if (found == numbers_.end()) return;
        const bool is_abort = static_cast<FinishReason>(entry.numbers[0]) == FinishReason::kAborted;
        return AddFault({.kind = is_abort ? FaultKind::kAbort : FaultKind::kCancel, .request = found->second}, entry);
      }
      case FlightDecision::kCancelAll:
        return AddFault({.kind = FaultKind::kEndAll}, entry);
      case FlightDecision::kFlush:
        return AddFault({.kind = FaultKind::kFlush}, entry);
      case FlightDecision::kCopy:
        most_blocks_ = std::max({most_blocks_, entry.numbers[0], entry.numbers[1]});
        return;
      case FlightDecision::kEvict:
        most_blocks_ = std::max(most_blocks_, entry.numbers[0]);
        return;
      case FlightDecision::kStep:
        most_rows_ = std::max(most_rows_, entry.numbers[0]);
        most_tokens_ = std::max(most_tokens_, entry.numbers[1]);
        scenario_.step.recorded.push_back(microseconds(entry.numbers[2]));
        return;
      default:
        return;
    }
  }

  void AddFault(Fault fault, const FlightEntry& entry) {
    fault.at = At(entry);
    scenario_.faults.push_back(fault);
  }

  void AddRequest(const FlightEntry& entry) {
    const Course& course = courses_[entry.request];
    const auto number = static_cast<int>(scenario_.requests.size());
    PlannedRequest planned{.number = number, .arrival = At(entry), .max_pending_bytes = kMostBytes};
    Request& request = planned.request;
    request.prompt = PromptOf(entry, course);
    request.sampling.seed = entry.request;
    request.scheduling.priority = std::clamp(entry.numbers[2], kLowestPriority, kHighestPriority);
    request.num_sequences = std::max(1, entry.numbers[3]);
    if (course.is_score) request.kind = RequestKind::kScore;
    const bool is_known = course.generated_tokens > 0;
    request.stopping = {.max_tokens = is_known ? course.generated_tokens : entry.numbers[1], .ignore_eos = true};
    numbers_.emplace(entry.request, number);
    scenario_.span = std::max(scenario_.span, planned.arrival + milliseconds(500));
    scenario_.requests.push_back(std::move(planned));
  }

  // What it found is the newest earlier request's that has so many tokens.
  std::vector<int32_t> PromptOf(const FlightEntry& entry, const Course& course) const {
    const auto num_tokens = static_cast<size_t>(std::max(1, entry.numbers[0]));
    const auto num_shared = std::min(static_cast<size_t>(std::max(0, course.cached_tokens)), num_tokens - 1);
    std::vector<int32_t> prompt;
    for (auto planned = scenario_.requests.rbegin(); planned != scenario_.requests.rend(); ++planned) {
      const Request& earlier = planned->request;
      if (num_shared == 0 || earlier.kind != RequestKind::kGenerate) continue;
      prompt = earlier.prompt;
      if (prompt.size() < num_shared && earlier.stopping.max_tokens > 0) {
        const auto answer = RunQuietly(earlier, 0, std::numeric_limits<int>::max()).generated;
        prompt.insert(prompt.end(), answer.begin(), answer.end());
      }
      if (prompt.size() >= num_shared) break;
    }
    prompt.resize(std::min(prompt.size(), num_shared));
    Random random(entry.request);
    while (prompt.size() < num_tokens) {
      prompt.push_back(kAlphabet[static_cast<size_t>(random.Below(kAlphabet.size()))]);
    }
    return prompt;
  }

  // At least so large as the recorded engine must have been.
  void SetSizes() {
    int context = 1;
    for (const PlannedRequest& planned : scenario_.requests) {
      const Request& request = planned.request;
      context = std::max(context, static_cast<int>(request.prompt.size()) + request.stopping.max_tokens);
    }
    SchedulerOptions& options = scenario_.engine.scheduler;
    options.max_context_tokens = context;
    options.cache.num_blocks = 1 + std::max(most_blocks_, BlocksFor(context));
    options.max_step_rows = options.max_step_logits = std::max(1, most_rows_);
    options.max_step_tokens = std::max(options.max_step_rows, most_tokens_);
    options.num_recorded = 1 << 16;
    scenario_.engine.vocabulary.eos_ids = {kEndOfText};
    scenario_.step.fixed = milliseconds(10);
  }

  const FlightDump& dump_;
  int64_t began_ = 0;
  std::map<uint64_t, Course> courses_;
  std::map<uint64_t, int> numbers_;  // of requests, by their ids in the dump
  int most_blocks_ = 0, most_rows_ = 0, most_tokens_ = 0;
  Scenario scenario_;
};

}  // namespace

Scenario ScenarioOf(const FlightDump& dump) { return Replay(dump).Draw(); }

}  // namespace latentd::simulation
