// What the engine thread repeats, without the thread: commands in, one step, its output and the queue's account out.
// No inbox, no publisher and no waiting, so that a simulator runs the very same turns. One caller at a time.
//
// Begin and Complete alternate; Apply comes before, between or after them. Time is read from the clock alone: in
// Begin before the commands and after them, and once when the step is over.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/loop/inbox.h"
#include "engine/step/engine.h"
#include "engine/step/step_in_flight.h"
#include "engine/step/step_output.h"
#include "engine/stream/publisher.h"

namespace latentd {

// The results of one turn. A turn that is filled again keeps its memory, but for what was moved out of it.
struct Turn {
  std::vector<StreamOpening> opened;  // for the publisher, before `output`
  StepOutput output;
  std::vector<RequestId> left_queue;  // got their first rows in this turn, or ended without any: for Inbox::LeaveQueue
  double tokens_per_second = 0.0;     // of prefill, as measured: for Inbox::SetPace
  bool idle = false;                  // nothing happens until a command comes or it is next_expiry
  TimePoint next_expiry = kNever;
};

class EngineLoop {
 public:
  // `clock` must outlive it.
  EngineLoop(std::unique_ptr<Engine> engine, const Clock& clock) : engine_(std::move(engine)), clock_(clock) {}

  // Does what the commands ask for. Requests among them passed CheckFits. Between Begin and Complete they act on a step
  // in flight: that step gives nothing to what they end, and the same turn tells the ends and the openings.
  void Apply(Commands commands);
  // Applies the commands, then plans and launches a step.
  void Begin(Commands commands);
  // Collects and commits that step.
  void Complete(Turn& turn);
  void Run(Commands commands, Turn& turn) {
    Begin(std::move(commands));
    Complete(turn);
  }

  const Engine& engine() const { return *engine_; }

 private:
  const std::unique_ptr<Engine> engine_;
  const Clock& clock_;

  // Between Begin and Complete.
  bool has_begun_ = false;
  bool has_late_commands_ = false;  // since Begin: the step that it planned knows nothing of them
  std::vector<StreamOpening> opened_;
  std::optional<StepInFlight> step_;
};

}  // namespace latentd
