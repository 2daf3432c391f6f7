#include "engine/loop/outbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace latentd {

void Outbox::Put(std::vector<StreamOpening>& opened, StepOutput& output) {
  if (opened.empty() && output.empty()) return;
  const bool has_output = !output.empty();
  letter_.Merge([&](Letter& letter) {
    std::move(opened.begin(), opened.end(), std::back_inserter(letter.opened));
    // Moved as it is: sorting it by stream is not the engine thread's work.
    if (has_output) letter.outputs.push_back(std::move(output));
  });
  opened.clear();
  if (has_output) output = TakeSpent();
}

void Outbox::GiveBack(Letter& letter) {
  letter.opened.clear();
  for (StepOutput& output : letter.outputs) output.Clear();
  {
    std::lock_guard lock(spent_mutex_);
    for (StepOutput& output : letter.outputs) {
      if (spent_.size() < kMaxSpent) spent_.push_back(std::move(output));
    }
  }
  letter.outputs.clear();
}

StepOutput Outbox::TakeSpent() {
  std::lock_guard lock(spent_mutex_);
  if (spent_.empty()) return {};
  StepOutput output = std::move(spent_.back());
  spent_.pop_back();
  return output;
}

}  // namespace latentd
