#include "server/process/serving_state.h"

#include <utility>

namespace latentd {

void ServingState::MoveTo(Stage stage) {
  const std::lock_guard lock(mutex_);
  if (view_.stage == Stage::kDraining) return;
  view_.stage = stage;
  Tell();
}

void ServingState::SetHearing(ListenerKind kind) {
  const std::lock_guard lock(mutex_);
  view_.is_deaf[static_cast<size_t>(kind)] = false;
  Tell();
}

void ServingState::SetDeaf(ListenerKind kind) {
  const std::lock_guard lock(mutex_);
  view_.is_deaf[static_cast<size_t>(kind)] = true;
  Tell();
}

ServingState::View ServingState::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

void ServingState::Observe(const void* owner, Observer observer) {
  const std::lock_guard lock(mutex_);
  observer(view_);
  observers_[owner] = std::move(observer);
}

void ServingState::Forget(const void* owner) {
  const std::lock_guard lock(mutex_);
  observers_.erase(owner);
}

void ServingState::Tell() const {
  for (const auto& [owner, observer] : observers_) observer(view_);
}

}  // namespace latentd
