#include "tools/load/call.h"

#include <chrono>
#include <utility>

#include "tools/client/client.h"

namespace latentd {
namespace {

// Set by the server with the initial metadata that follows admission.
constexpr char kRequestIdKey[] = "latentd-request-id";

std::chrono::system_clock::time_point In(double seconds) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

Call::Call(PlannedRequest request, int64_t intended, Keep keep) : request_(std::move(request)), keep_(keep) {
  record_.index = request_.index;
  record_.intended = intended;
  record_.planned_end = request_.planned_end;
  record_.max_tokens = request_.message.stopping().max_tokens();
}

void Call::Start(v1::Generation::Stub& stub, grpc::CompletionQueue& queue, double timeout_seconds, int64_t sent) {
  record_.sent = sent;
  const bool has_deadline = request_.planned_end == PlannedEnd::kRpcDeadline;
  context_.set_deadline(In(has_deadline ? request_.rpc_deadline_seconds : timeout_seconds));
  reader_ = stub.PrepareAsyncGenerate(&context_, request_.message, &queue);
  reader_->StartCall(this);
}

void Call::Interrupt() {
  was_interrupted_ = true;
  context_.TryCancel();
}

Call::Progress Call::Advance(bool ok, int64_t now) {
  new_tokens_ = 0;
  switch (state_) {
    case State::kStarting:
      Read();
      return Progress::kGoesOn;
    case State::kReading:
      if (!ok) {
        state_ = State::kFinishing;
        reader_->Finish(&status_, this);
        return Progress::kGoesOn;
      }
      OnEvent(now);
      Read();
      return Progress::kReadEvent;
    case State::kFinishing:
      break;
  }
  OnStatus(now);
  return Progress::kEnded;
}

void Call::Read() {
  state_ = State::kReading;
  reader_->Read(&event_, this);
}

void Call::OnEvent(int64_t now) {
  grammar_.Check(event_);
  if (event_.has_delta()) {
    OnDelta(event_.delta(), now);
  } else if (event_.has_started()) {
    record_.prompt_tokens = event_.started().prompt_tokens();
    record_.was_admitted = true;
  } else if (event_.has_sequence_end()) {
    end_reason_ = event_.sequence_end().reason();
  } else if (event_.has_completed()) {
    OnCompleted(event_.completed());
  }
  CancelIfPlanned();
}

void Call::OnDelta(const v1::Delta& delta, int64_t now) {
  if (keep_ == Keep::kOutput) {
    output_.text += delta.text();
    output_.token_ids.insert(output_.token_ids.end(), delta.token_ids().begin(), delta.token_ids().end());
  }
  new_tokens_ = token_times_.Observe(delta.tokens_so_far(), now);
}

void Call::OnCompleted(const v1::Completed& completed) {
  record_.queue_seconds = completed.timings().queue_seconds();
  record_.prefill_seconds = completed.timings().prefill_seconds();
  record_.decode_seconds = completed.timings().decode_seconds();
}

void Call::CancelIfPlanned() {
  if (request_.planned_end != PlannedEnd::kCancel || has_cancelled_) return;
  if (!record_.was_admitted || token_times_.num_tokens() < request_.cancel_after_tokens) return;
  has_cancelled_ = true;
  context_.TryCancel();
}

void Call::OnStatus(int64_t now) {
  record_.ended = now;
  record_.output_tokens = token_times_.num_tokens();
  record_.first_token = token_times_.first();
  record_.second_token = token_times_.second();
  record_.last_token = token_times_.last();
  record_.code = status_.error_code();
  record_.was_admitted = record_.was_admitted || context_.GetServerInitialMetadata().contains(kRequestIdKey);
  record_.was_answered = record_.was_admitted || status_.ok() || !status_.error_details().empty();
  record_.was_interrupted = was_interrupted_;
  if (status_.ok()) {
    grammar_.CheckSuccess();
    record_.reason = NameOf(end_reason_);
  } else {
    record_.reason = ReasonOf(status_);
    record_.message = status_.error_message();
  }
  record_.grammar_violation = grammar_.violation();
}

KeptOutput Call::TakeOutput() {
  output_.index = record_.index;
  output_.is_whole = record_.succeeded();
  return std::move(output_);
}

}  // namespace latentd
