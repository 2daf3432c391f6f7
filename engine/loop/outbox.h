// From the engine thread to the publisher's: what turns gave; and back again: the memory of what was published.
// Owned by PublisherThread.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "engine/loop/mailbox.h"
#include "engine/step/step_output.h"
#include "engine/stream/publisher.h"

namespace latentd {

class Outbox {
 public:
  // What came since the last Await. Bounded by the tokens of the live sequences: no output is in it that gave nothing.
  struct Letter {
    std::vector<StreamOpening> opened;
    std::vector<StepOutput> outputs;
    bool empty() const { return opened.empty() && outputs.empty(); }
  };

  Outbox() { spent_.reserve(kMaxSpent); }

  // Engine thread. Takes what a turn opened and its output, in whose place comes one that was published before, if any.
  // A turn that gave nothing does not wake the publisher.
  void Put(std::vector<StreamOpening>& opened, StepOutput& output);
  // Publisher thread. Fills `letter`, which is empty, once there is something; false once closed and empty.
  bool Await(Letter& letter) { return letter_.Await(letter); }
  // Publisher thread. All of it was published: empties it and keeps its memory.
  void GiveBack(Letter& letter);
  void Close() { letter_.Close(); }

 private:
  // What a publisher that keeps up needs; the rest of a jam is freed.
  static constexpr size_t kMaxSpent = 4;

  StepOutput TakeSpent();

  Mailbox<Letter> letter_;
  std::mutex spent_mutex_;
  std::vector<StepOutput> spent_;  // guarded by spent_mutex_
};

}  // namespace latentd
