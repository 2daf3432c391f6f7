// A transport that only notes what its call asks of it; the test plays the threads that tell the call. It outlives the
// call, which it owns until Release. Any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "server/api/answer_limit.h"
#include "server/api/status.h"
#include "server/call/call.h"
#include "server/call/wire.h"

namespace latentd {

class FakeCallWire final : public CallWire {
 public:
  struct Notes {
    int num_reads = 0;
    std::vector<std::pair<std::string, Next>> writes;
    std::vector<std::string> ends;  // reasons, "" for OK
    int num_resets = 0;
    int num_sent_metadata = 0;
    bool is_released = false;
  };

  void Own(std::unique_ptr<Call> call) { call_ = std::move(call); }

  void Release() override {
    call_.reset();
    Note([](Notes& notes) { notes.is_released = true; });
  }
  void Read() override {
    Note([](Notes& notes) { ++notes.num_reads; });
  }
  absl::StatusOr<MessageBytes> Unpack() override {
    if (!unpacking.ok()) return unpacking;
    piece_ = message;
    return MessageBytes(&piece_, 1);
  }
  void DropMessage() override {}
  bool IsCancelled() const override { return is_cancelled; }
  absl::StatusOr<size_t> AcceptedAnswerBytes() const override { return accepted_bytes; }
  absl::StatusOr<std::string> Tenant() const override { return tenant; }
  void AddMetadata(const Metadata&) override {}
  void SendMetadata() override {
    Note([](Notes& notes) { ++notes.num_sent_metadata; });
  }
  void Write(std::string message, Next next) override {
    Note([&](Notes& notes) { notes.writes.emplace_back(std::move(message), next); });
  }
  void Finish(const absl::Status& status) override {
    Note([&](Notes& notes) { notes.ends.push_back(ReasonOf(status)); });
  }
  void Reset() override {
    Note([](Notes& notes) { ++notes.num_resets; });
  }

  Notes notes() const {
    std::lock_guard lock(mutex_);
    return notes_;
  }
  // Returns once the notes are such.
  template <class Condition>
  Notes Await(const Condition& condition) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return condition(notes_); });
    return notes_;
  }
  Notes AwaitWrite() const {
    return Await([](const Notes& notes) { return !notes.writes.empty(); });
  }
  Notes AwaitEnd() const {
    return Await([](const Notes& notes) { return !notes.ends.empty(); });
  }
  Notes AwaitRelease() const {
    return Await([](const Notes& notes) { return notes.is_released; });
  }

  // Before the call arrives.
  std::string message = "message";
  absl::Status unpacking;
  bool is_cancelled = false;
  size_t accepted_bytes = kDefaultAnswerBytes;
  absl::StatusOr<std::string> tenant = std::string();

 private:
  template <class Change>
  void Note(const Change& change) {
    std::lock_guard lock(mutex_);
    change(notes_);
    changed_.notify_all();
  }

  std::unique_ptr<Call> call_;
  std::string_view piece_;
  mutable std::mutex mutex_;  // guards the notes
  mutable std::condition_variable changed_;
  Notes notes_;
};

}  // namespace latentd
