#include "tools/load/call.h"

#include <chrono>
#include <limits>
#include <utility>

#include "tools/client/client.h"

namespace latentd {
namespace {

// Set by the server with the initial metadata that follows admission.
constexpr char kRequestIdKey[] = "latentd-request-id";

constexpr double kSlowReadSeconds = 0.1;  // before each event
constexpr double kStallSeconds = 5.0;

std::chrono::system_clock::time_point In(double seconds) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(seconds));
}

void MakeEarliest(int64_t at, int64_t& earliest) {
  if (at != kNotReached && (earliest == kNotReached || at < earliest)) earliest = at;
}

void AddTimes(const TokenTimes& answer, RequestRecord& record) {
  MakeEarliest(answer.first(), record.first_token);
  MakeEarliest(answer.second(), record.second_token);
  if (answer.num_tokens() == 0) return;
  record.between_tokens += answer.last() - answer.first();
  record.num_gaps += answer.num_tokens() - 1;
}

}  // namespace

Call::Call(PlannedRequest request, int64_t intended, Keep keep)
    : request_(std::move(request)),
      keep_(keep),
      grammar_(NumAnswers(request_.message)),
      token_times_(NumAnswers(request_.message)) {
  record_.index = request_.index;
  record_.intended = intended;
  record_.behaviour = request_.behaviour;
  record_.may_be_refused = request_.may_be_refused;
  const bool is_well = request_.behaviour == Behaviour::kWell;
  record_.tenant = is_well ? static_cast<uint32_t>(request_.tenant) : std::numeric_limits<uint32_t>::max();
  record_.prompt_ids = static_cast<uint32_t>(request_.message.token_ids().ids_size());
  record_.max_tokens = request_.message.stopping().max_tokens() * NumAnswers(request_.message);
  output_.answers.resize(token_times_.size());
}

void Call::Start(v1::Generation::Stub& stub, grpc::CompletionQueue& queue, const Departure& departure) {
  record_.sent = departure.sent;
  const bool has_deadline = request_.behaviour == Behaviour::kRpcDeadline;
  context_.set_deadline(In(has_deadline ? request_.rpc_deadline_seconds : departure.timeout_seconds));
  NameTenant(departure.tenant, context_);
  queue_ = &queue;
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
      if (request_.behaviour != Behaviour::kCancelQueued) {
        Read();
        return Progress::kGoesOn;
      }
      state_ = State::kAwaitingMetadata;
      reader_->ReadInitialMetadata(this);
      return Progress::kGoesOn;
    case State::kAwaitingMetadata:
      Cancel();
      Read();
      return Progress::kGoesOn;
    case State::kPausing:
      if (request_.behaviour == Behaviour::kStalledReader) Cancel();
      Read();
      return Progress::kGoesOn;
    case State::kReading:
      if (!ok) {
        state_ = State::kFinishing;
        reader_->Finish(&status_, this);
        return Progress::kGoesOn;
      }
      OnEvent(now);
      ReadOrPause();
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

void Call::ReadOrPause() {
  if (ReadsPromptly(request_.behaviour) || was_interrupted_ || has_cancelled_) return Read();
  state_ = State::kPausing;
  const bool is_stalled = request_.behaviour == Behaviour::kStalledReader;
  alarm_.Set(queue_, In(is_stalled ? kStallSeconds : kSlowReadSeconds), this);
}

void Call::Cancel() {
  has_cancelled_ = true;
  context_.TryCancel();
}

void Call::OnEvent(int64_t now) {
  grammar_.Check(event_);
  if (event_.has_delta()) {
    OnDelta(event_.delta(), now);
  } else if (event_.has_started()) {
    record_.prompt_tokens = event_.started().prompt_tokens();
    record_.cached_tokens = event_.started().cached_tokens();
    record_.was_admitted = true;
  } else if (event_.has_sequence_end()) {
    if (event_.sequence_end().index() == 0) end_reason_ = event_.sequence_end().reason();
  } else if (event_.has_completed()) {
    OnCompleted(event_.completed());
  }
  CancelIfPlanned();
}

void Call::OnDelta(const v1::Delta& delta, int64_t now) {
  if (delta.index() >= token_times_.size()) return;  // which breaks the grammar
  if (keep_ != Keep::kNothing) {
    KeptAnswer& answer = output_.answers[delta.index()];
    if (keep_ == Keep::kOutput) answer.text += delta.text();
    answer.token_ids.insert(answer.token_ids.end(), delta.token_ids().begin(), delta.token_ids().end());
  }
  new_tokens_ = token_times_[delta.index()].Observe(delta.tokens_so_far(), now);
  num_tokens_ += new_tokens_;
}

void Call::OnCompleted(const v1::Completed& completed) {
  record_.queue_seconds = completed.timings().queue_seconds();
  record_.prefill_seconds = completed.timings().prefill_seconds();
  record_.decode_seconds = completed.timings().decode_seconds();
  record_.drafted_tokens = completed.usage().drafted_tokens();
  record_.accepted_tokens = completed.usage().accepted_tokens();
}

void Call::CancelIfPlanned() {
  if (has_cancelled_ || !record_.was_admitted) return;
  const bool is_due = request_.behaviour == Behaviour::kCancelPrefill ||
                      (request_.behaviour == Behaviour::kCancelDecode && num_tokens_ >= request_.cancel_after_tokens);
  if (is_due) Cancel();
}

void Call::OnStatus(int64_t now) {
  record_.ended = now;
  record_.output_tokens = num_tokens_;
  for (const TokenTimes& answer : token_times_) AddTimes(answer, record_);
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

void Call::RecordWaits(LatencyHistogram& histogram) const {
  for (const TokenTimes& answer : token_times_) answer.RecordWaits(histogram);
}

KeptOutput Call::TakeOutput() {
  output_.index = record_.index;
  output_.history = request_.history;
  output_.is_whole = record_.succeeded();
  return std::move(output_);
}

}  // namespace latentd
