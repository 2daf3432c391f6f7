// Who may go before whom, judged by the world itself: by class with its ageing, by the tenants' service, by what a step
// has room for. Each plan is judged between Remember and Check. Breaks kOrder, kShare and kLiveness.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/scheduler.h"
#include "tests/simulation/executor.h"
#include "tests/simulation/life.h"

namespace latentd::simulation {

class Ranking {
 public:
  // `most_service` is that of one sequence, where all are of one priority and nothing disturbs them, so that tenants
  // must get equal shares; else 0. Both references must outlive it.
  Ranking(const SchedulerOptions& options, int64_t most_service, const Scheduler& scheduler)
      : options_(options), most_service_(most_service), scheduler_(scheduler) {}

  // Before a plan, and after the commands: who runs and who waits.
  void Remember(Lives& lives, TimePoint now);
  // After it, before its rows are counted. Charges the tenants for them.
  void Check(std::span<const LaunchedRow> rows, std::span<SequenceLife* const> preempted);
  // Once a row is committed: charges its tenant for its drafts, as they were right or wrong.
  void ChargeDrafts(const LaunchedRow& row);

 private:
  struct Place {
    SequenceLife* sequence = nullptr;
    int priority = 0;
    int64_t aged = 0;  // with the classes that its waiting is worth
    // Ageing lifts nothing above the highest priority that waits.
    int64_t ClassUpTo(int highest) const { return std::max<int64_t>(priority, std::min<int64_t>(highest, aged)); }
  };

  Place PlaceOf(SequenceLife& sequence, TimePoint now) const;
  std::string NameOf(const SequenceLife& sequence) const;  // of its tenant's account
  void CheckPreemptions(std::span<const LaunchedRow> rows, std::span<SequenceLife* const> preempted) const;
  void CheckStarts(std::span<const LaunchedRow> rows);
  void CheckStart(const Place& started, const Place& passed, int highest);
  void CheckComeback(const Place& started, const Place& passed) const;
  void CheckGenerating(std::span<const LaunchedRow> rows, std::span<SequenceLife* const> preempted) const;
  void CheckService() const;
  void CheckShares();

  const SchedulerOptions& options_;
  const int64_t most_service_;
  const Scheduler& scheduler_;
  TimePoint now_{};
  std::vector<Place> running_, waiting_;
  uint64_t num_by_priority_ = 0;                                 // preemptions for priority before the plan
  std::map<SequenceId, const Sequence*> found_;                  // those that live after the plan
  std::map<const Tenant*, double> later_;                        // service for rows of the plan from the one in hand on
  std::map<std::string, int64_t> service_;                       // tokens by tenant; "": of those that are not listed
  std::map<std::pair<std::string, std::string>, double> leads_;  // of the first's service, since when both wait
};

}  // namespace latentd::simulation
