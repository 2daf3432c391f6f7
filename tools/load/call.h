// One stream: a state machine with one operation in flight, driven by the completion queue of its lane. Lane's thread
// only, but for construction, Start and Interrupt.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include "latentd/v1/generation.grpc.pb.h"
#include "tools/load/request_record.h"
#include "tools/load/stream_grammar.h"
#include "tools/load/token_times.h"
#include "tools/load/workload.h"

namespace latentd {

enum class Keep { kNothing, kAnswer, kOutput };

class Call {
 public:
  Call(PlannedRequest request, int64_t intended, Keep keep);

  struct Departure {
    double timeout_seconds = 0.0;  // bounds the call where the mix plans no earlier deadline
    std::string tenant = {};       // empty: none
    int64_t sent = 0;              // the moment of the departure
  };
  void Start(v1::Generation::Stub& stub, grpc::CompletionQueue& queue, const Departure& departure);
  // The user ends the run. Any thread.
  void Interrupt();

  // An operation is over. True once the call is: the record is then complete.
  enum class Progress { kGoesOn, kReadEvent, kEnded };
  Progress Advance(bool ok, int64_t now);

  const PlannedRequest& request() const { return request_; }
  RequestRecord& record() { return record_; }
  const RequestRecord& record() const { return record_; }
  KeptOutput TakeOutput();
  // To a conversation's turn; empty where nothing follows from it.
  const std::vector<uint32_t>& answer() const { return output_.answers.front().token_ids; }
  // The last event brought the request's first.
  bool is_first_token() const { return new_tokens_ > 0 && new_tokens_ == num_tokens_; }
  // Tokens that the last event brought.
  uint32_t new_tokens() const { return new_tokens_; }
  void RecordWaits(LatencyHistogram& histogram) const;

 private:
  enum class State { kStarting, kAwaitingMetadata, kReading, kPausing, kFinishing };

  void Read();
  void ReadOrPause();
  void Cancel();
  void OnEvent(int64_t now);
  void OnDelta(const v1::Delta& delta, int64_t now);
  void OnCompleted(const v1::Completed& completed);
  void OnStatus(int64_t now);
  void CancelIfPlanned();

  const PlannedRequest request_;
  const Keep keep_;
  State state_ = State::kStarting;
  grpc::ClientContext context_;
  grpc::CompletionQueue* queue_ = nullptr;
  grpc::Alarm alarm_;  // the end of a pause
  std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateEvent>> reader_;
  v1::GenerateEvent event_;  // reused: its strings keep their memory
  grpc::Status status_;
  StreamGrammar grammar_;
  RequestRecord record_;
  KeptOutput output_;
  std::vector<TokenTimes> token_times_;  // of each answer, by index
  uint32_t num_tokens_ = 0;              // of all answers
  uint32_t new_tokens_ = 0;
  v1::EndReason end_reason_ = v1::END_REASON_UNSPECIFIED;  // of the first answer
  bool has_cancelled_ = false;
  std::atomic<bool> was_interrupted_{false};
};

}  // namespace latentd
