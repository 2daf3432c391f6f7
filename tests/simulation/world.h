// One world: the production loop - inbox, engine loop, publisher, token streams - under a queue of events by virtual
// time, with simulated arrivals, readers and faults. No threads and no clock: what threads would do in some order is
// events in an order that the seed draws. A broken rule ends the process (violation.h), so a world is run in a child
// process (runs.h); Run returns where every rule held to the end. The scenario must outlive it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "engine/loop/engine_loop.h"
#include "engine/loop/inbox.h"
#include "engine/loop/outbox.h"
#include "engine/metrics.h"
#include "engine/stream/publisher.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/executor.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/kv_follower.h"
#include "tests/simulation/life.h"
#include "tests/simulation/order.h"
#include "tests/simulation/workload.h"

namespace latentd::simulation {

// Whether a world tells on standard error what happens in it.
enum class Telling : uint8_t { kSilent, kAll };

class World {
 public:
  // `tokenizer` knows the tokens of fake_model.h; it must outlive the world.
  World(const Scenario& scenario, const Tokenizer& tokenizer, Telling telling = Telling::kSilent);
  ~World() { TellDecisionsOf(nullptr); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void Run();
  const Coverage& coverage() const { return coverage_; }
  const Lives& lives() const { return lives_; }
  std::vector<FlightEntry> Decisions() const;  // the newest, as far as the recorder has them

 private:
  class Sink final : public TextSink {
   public:
    Sink(World& world, Life& life) : world_(world), life_(life) {}
    void Wake() override { world_.ScheduleRead(life_); }

   private:
    World& world_;
    Life& life_;
  };

  void Dispatch(const Event& event);
  // A length of time that depends on the seed, the kind and this moment alone.
  Duration Within(Duration most, EventKind kind) const;
  const Fault& FaultOf(int number) const;

  // Clients and their RPCs (clients.cc).
  void Arrive(Life& life);
  void Submit(Life& life);
  void Refuse(Life& life, const Refusal& refusal);
  bool CanEverRun(const Request& request) const;
  std::optional<RefusalCause> ExpectedRefusal(const Request& request) const;
  void AddRead(TimePoint at, Life& life);
  void ScheduleRead(Life& life);
  void Read(Life& life);
  void TakeOne(Life& life);
  void CheckRoom(const Life& life, bool was_full) const;
  void CheckStopped(const SequenceLife& sequence) const;
  void Finish(Life& life, FinishReason reason);

  // Faults (clients.cc).
  void Strike(const Fault& fault);
  void StrikeRequest(const Fault& fault, Life& life);
  // Those that wait for this moment of the request, with a count from `first` to before `end`.
  void StrikeAt(Moment moment, const Life& life, int first, int end);
  void Vanish(Life& life);
  void EndRequest(Life& life, FinishReason reason, TimePoint asked);
  void EndAll();
  void Flush();
  void Describe();
  void CheckDescription(const std::vector<SequenceStatus>& all);
  void Quieten();

  // The engine's thread (turns.cc).
  void Poke();
  void BeginTurn();
  void AddStepEvents();
  Duration StepDuration() const;
  void ApplyDuringStep();
  void ForeseeCommands();
  void ForeseeReader(Life& life);
  void ForeseeEnd(SequenceLife& sequence);
  std::vector<SequenceLife*> FollowPreemptions();
  void StartRow(const LaunchedRow& row);
  void EndTurn();
  void CountRow(const LaunchedRow& row);
  void CountTokens(const LaunchedRow& row);
  void CountDrafts(const LaunchedRow& row);
  void CountPositions(const LaunchedRow& row);
  void Fork(Life& life);
  void FailSiblings(const SequenceLife& failed);
  void TakeOutput(const SequenceOutput& output);
  void TakeEnd(const SequenceEnd& end);
  void CheckKept(const SequenceLife& sequence) const;
  void CheckTurn();
  void HandOver();
  void Rest();

  // The publisher's thread.
  void WakePublisher();
  void Publish();
  void SendEffects();
  void LookAgain();

  void CheckAtEnd();
  void CoverCache();
  void Tell(const char* what, int number) const;

  const Scenario& scenario_;
  const Telling telling_;
  const Duration slow_consumer_;
  VirtualClock clock_;
  EventQueue events_;
  Lives lives_;
  std::deque<Sink> sinks_;  // as lives_
  Metrics metrics_;
  Coverage coverage_;
  SimulatedExecutor executor_;
  Inbox inbox_;
  EngineLoop loop_;
  KvFollower follower_;
  Ranking ranking_;
  Publisher publisher_;
  bool is_admitting_ = true;
  bool is_quiet_ = false;  // no more faults

  // The engine's thread.
  enum class EngineState : uint8_t { kResting, kPlanning, kInStep };
  EngineState engine_state_ = EngineState::kResting;
  std::vector<Life*> submitted_;  // not taken yet
  bool end_all_sent_ = false;
  bool has_word_ = false;  // something came into the inbox since the turn began
  int num_rests_ = 0;
  TimePoint begun_{};          // the turn that goes on, or the last
  Duration late_{};            // how much longer the next step takes
  double planned_rate_ = 0.0;  // of prefill, as the last plan knew it
  uint64_t num_seen_ = 0;      // requests, by the scheduler
  Turn turn_;

  // The publisher's thread.
  enum class PublisherState : uint8_t { kResting, kWoken, kSending };
  PublisherState publisher_state_ = PublisherState::kResting;
  TimePoint publisher_late_until_{};
  Outbox outbox_;
  bool has_letter_ = false;  // in the outbox
  Outbox::Letter letter_;
  Effects effects_;

  WorldCounts counts_;
  uint64_t num_events_ = 0;
};

}  // namespace latentd::simulation
