// The rule of FinalCause, over every combination of what has a say in it.
#include "server/call/final_cause.h"

#include <chrono>
#include <iterator>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "server/api/enumerators.h"
#include "server/api/status.h"

namespace latentd {
namespace {

constexpr FinishReason kReasons[] = {FinishReason::kEos,
                                     FinishReason::kStopString,
                                     FinishReason::kStopToken,
                                     FinishReason::kMaxTokens,
                                     FinishReason::kContextLimit,
                                     FinishReason::kScored,
                                     FinishReason::kCancelled,
                                     FinishReason::kAborted,
                                     FinishReason::kExpiredInQueue,
                                     FinishReason::kExpiredInPrefill,
                                     FinishReason::kExpiredInDecode,
                                     FinishReason::kSloUnattainable,
                                     FinishReason::kSlowConsumer,
                                     FinishReason::kNonFiniteLogits,
                                     FinishReason::kDraining};
constexpr Progress kProgress[] = {Progress::kQueued, Progress::kPrefill, Progress::kDecode};
constexpr AnswerFate kFates[] = {AnswerFate::kTakenWhole, AnswerFate::kLeft, AnswerFate::kStuck,
                                 AnswerFate::kDisplaced};
static_assert(HasEnumerators<FinishReason, std::size(kReasons)>());
static_assert(HasEnumerators<Progress, std::size(kProgress)>());
static_assert(HasEnumerators<AnswerFate, std::size(kFates)>());

// What a row leaves open may be anything.
struct Row {
  std::optional<bool> is_success, is_cancel;  // of the engine
  std::optional<AnswerFate> fate;
  std::optional<bool> is_cut_short, deadline_passed;
  std::optional<Progress> progress;
  std::optional<Cause> cause;  // nothing: the engine's
};

// Exactly one row fits a combination, and says its cause.
const std::vector<Row> kTable = {
    // engine's   cancel  fate                     cut    deadline  progress            cause
    {std::nullopt, true, std::nullopt, std::nullopt, false, std::nullopt, Cause::kClientCancel},
    {std::nullopt, true, std::nullopt, std::nullopt, true, Progress::kQueued, Cause::kExpiredInQueue},
    {std::nullopt, true, std::nullopt, std::nullopt, true, Progress::kPrefill, Cause::kExpiredInPrefill},
    {std::nullopt, true, std::nullopt, std::nullopt, true, Progress::kDecode, Cause::kExpiredInDecode},
    {false, false, std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt},
    {true, false, AnswerFate::kTakenWhole, std::nullopt, std::nullopt, std::nullopt, std::nullopt},
    {true, false, AnswerFate::kStuck, std::nullopt, std::nullopt, std::nullopt, Cause::kSlowConsumer},
    {true, false, AnswerFate::kDisplaced, std::nullopt, std::nullopt, std::nullopt, Cause::kAnswersFull},
    {true, false, AnswerFate::kLeft, true, std::nullopt, std::nullopt, Cause::kDraining},
    {true, false, AnswerFate::kLeft, false, false, std::nullopt, Cause::kClientCancel},
    {true, false, AnswerFate::kLeft, false, true, Progress::kQueued, Cause::kExpiredInQueue},
    {true, false, AnswerFate::kLeft, false, true, Progress::kPrefill, Cause::kExpiredInPrefill},
    {true, false, AnswerFate::kLeft, false, true, Progress::kDecode, Cause::kExpiredInDecode},
};

template <class Value>
bool Fits(const std::optional<Value>& expected, const Value& found) {
  return !expected || *expected == found;
}

bool Fits(const Row& row, const CallEnd& end) {
  return Fits(row.is_success, RowOf(CauseOf(end.engine)).is_success()) &&
         Fits(row.is_cancel, end.engine == FinishReason::kCancelled) && Fits(row.fate, end.fate) &&
         Fits(row.is_cut_short, end.is_cut_short) && Fits(row.deadline_passed, end.deadline_passed) &&
         Fits(row.progress, end.progress);
}

std::vector<CallEnd> AllEnds() {
  std::vector<CallEnd> ends;
  for (const FinishReason reason : kReasons) {
    for (const Progress progress : kProgress) {
      for (const AnswerFate fate : kFates) {
        for (const bool deadline_passed : {false, true}) {
          for (const bool is_cut_short : {false, true}) {
            ends.push_back({reason, progress, fate, deadline_passed, is_cut_short});
          }
        }
      }
    }
  }
  return ends;
}

TEST(FinalCause, EveryCombinationIsTheTables) {
  const std::vector<CallEnd> ends = AllEnds();
  EXPECT_EQ(ends.size(), 15u * 3 * 4 * 2 * 2);
  for (const CallEnd& end : ends) {
    int num_rows = 0;
    for (const Row& row : kTable) {
      if (!Fits(row, end)) continue;
      ++num_rows;
      EXPECT_EQ(FinalCause(end), row.cause.value_or(CauseOf(end.engine))) << "row " << &row - kTable.data();
    }
    EXPECT_EQ(num_rows, 1) << "no row or several for reason " << static_cast<int>(end.engine);
  }
}

TEST(FinalCause, HasTheStatusOfItsRowWhichSaysThatItEndsRuns) {
  const StreamEnd end;
  for (const CallEnd& call_end : AllEnds()) {
    const Cause cause = FinalCause(call_end);
    const CauseRow& row = RowOf(cause);
    EXPECT_TRUE(row.ends_run()) << row.reason;
    const absl::Status status = StatusOfRun(cause, {.end = end, .request_id = "r"});
    EXPECT_EQ(status.code(), row.code) << row.reason;
    EXPECT_EQ(ReasonOf(status), row.is_success() ? "" : row.reason);
  }
}

TEST(FinalCause, ProgressIsTheRequestsOwnRecord) {
  StreamEnd end;
  EXPECT_EQ(ProgressOf(end), Progress::kQueued);
  end.timings.first_scheduled = TimePoint{};
  EXPECT_EQ(ProgressOf(end), Progress::kPrefill);
  end.output_tokens = 1;
  EXPECT_EQ(ProgressOf(end), Progress::kDecode);
}

TEST(FinalCause, CancellationJustBeforeTheDeadlineIsAnExpiry) {
  using std::chrono::milliseconds;
  const TimePoint deadline{std::chrono::seconds(10)};
  EXPECT_TRUE(IsExpired(deadline, deadline));
  EXPECT_TRUE(IsExpired(deadline - milliseconds(50), deadline));
  EXPECT_FALSE(IsExpired(deadline - milliseconds(51), deadline));
  EXPECT_FALSE(IsExpired(deadline, kNever));
  EXPECT_FALSE(IsExpired(kNever, deadline));
}

}  // namespace
}  // namespace latentd
