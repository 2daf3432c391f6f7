// How many streams of one kind may be open at a time: those that cost a client nothing to leave open. Any thread.
#pragma once

#include <atomic>

#include <grpcpp/support/status.h>

namespace latentd {

class StreamPlaces {
 public:
  explicit StreamPlaces(int count) : left_(count) {}

  // False: none is left. Whoever took one gives it back.
  bool Take() {
    if (left_.fetch_sub(1) > 0) return true;
    left_.fetch_add(1);
    return false;
  }
  void GiveBack() { left_.fetch_add(1); }

 private:
  std::atomic<int> left_;
};

// One for which there was no place.
template <class Reactor>
class RefusedStream final : public Reactor {
 public:
  explicit RefusedStream(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace latentd
