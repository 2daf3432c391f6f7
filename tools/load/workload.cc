#include "tools/load/workload.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <absl/strings/str_format.h>

#include "tools/load/jsonl.h"

namespace latentd {
namespace {

constexpr uint32_t kMaxAnswers = 64;
constexpr uint32_t kMostLogprobs = 32;
constexpr char kDuplicateId[] = "latentctl-load-duplicate";

// A double-precision value as the proto's seconds and nanoseconds.
void SetDuration(double seconds, google::protobuf::Duration* duration) {
  const double whole = std::floor(seconds);
  duration->set_seconds(static_cast<int64_t>(whole));
  duration->set_nanos(static_cast<int32_t>((seconds - whole) * 1e9));
}

}  // namespace

uint32_t NumAnswers(const v1::GenerateRequest& request) {
  return request.sampling().has_n() ? std::clamp(request.sampling().n(), 1u, kMaxAnswers) : 1;
}

absl::StatusOr<Workload> Workload::Make(WorkloadOptions options, const v1::Model& model) {
  Workload workload(std::move(options), model);
  absl::Status status = workload.ReadFiles();
  if (status.ok()) status = workload.CheckContext(model.limits().max_context_tokens());
  if (!status.ok()) return status;
  if (workload.vocab_size_ <= workload.special_ids_.size()) {
    return absl::InvalidArgumentError("expected a model with ids that are not special, found none");
  }
  return workload;
}

Workload::Workload(WorkloadOptions options, const v1::Model& model)
    : options_(std::move(options)),
      vocab_size_(model.vocab_size()),
      max_context_tokens_(model.limits().max_context_tokens()),
      max_message_bytes_(model.limits().max_message_bytes()),
      special_ids_(model.eos_token_ids().begin(), model.eos_token_ids().end()) {
  if (model.has_bos_token_id()) special_ids_.push_back(model.bos_token_id());
  std::sort(special_ids_.begin(), special_ids_.end());
  special_ids_.erase(std::unique(special_ids_.begin(), special_ids_.end()), special_ids_.end());
}

absl::Status Workload::ReadFiles() {
  if (!options_.jsonl_file.empty()) {
    auto lines = ReadJsonl(options_.jsonl_file);
    if (!lines.ok()) return lines.status();
    lines_ = *std::move(lines);
  }
  if (!options_.trace_file.empty()) {
    auto entries = ReadTrace(options_.trace_file, options_.trace_block_tokens);
    if (!entries.ok()) return entries.status();
    trace_ = *std::move(entries);
  }
  return absl::OkStatus();
}

absl::Status Workload::CheckContext(uint32_t context) const {
  if (!lines_.empty() || !options_.texts.empty()) return absl::OkStatus();
  const auto is_too_long = [context](const TraceEntry& entry) {
    return entry.input_tokens + entry.output_tokens > context;
  };
  if (const auto num_too_long = std::count_if(trace_.begin(), trace_.end(), is_too_long); num_too_long > 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--trace: expected requests of at most the server's context of %d tokens, found %d of %d that "
                        "are longer; lower "
                        "--trace-block-tokens or remove them",
                        context, num_too_long, trace_.size()));
  }
  const uint64_t prefix = options_.prefix_tokens ? options_.prefix_tokens->max : 0;
  const uint64_t turn = uint64_t{options_.prompt_tokens.max} + options_.output_tokens.max;
  if (!trace_.empty() || prefix + turn * options_.turns <= context) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("--prompt-tokens (up to %d) and --output-tokens (up to %d), %d times, behind up to %d of "
                      "--prefix-tokens need more "
                      "than the server's context of %d tokens; lower them",
                      options_.prompt_tokens.max, options_.output_tokens.max, options_.turns, prefix, context));
}

std::vector<double> Workload::RecordedSeconds() const {
  std::vector<double> seconds;
  for (const TraceEntry& entry : trace_) seconds.push_back(entry.seconds);
  return seconds;
}

std::optional<Turn> Workload::Next(const PlannedRequest& request, const std::vector<uint32_t>& answer) const {
  if ((request.index + 1) % options_.turns == 0) return std::nullopt;
  const Ids& prompt = request.message.token_ids().ids();
  Turn next{.index = request.index + 1, .history = {prompt.begin(), prompt.end()}};
  next.history.insert(next.history.end(), answer.begin(), answer.end());
  return next;
}

PlannedRequest Workload::Plan(const Turn& turn) const {
  SeededRandom random(options_.seed, Purpose::kRequest, turn.index);
  PlannedRequest request;
  request.index = turn.index;
  request.history = turn.history;
  v1::GenerateRequest& message = request.message;
  if (!lines_.empty()) message = lines_[turn.index % lines_.size()];

  // What is drawn first does not move when an option changes how much is drawn after it: a seed gives the same prompts
  // with and without cancels.
  SeededRandom of_end(random.Next(), Purpose::kRequest, turn.index);
  v1::Sampling sampling = options_.sampling;
  sampling.set_seed(random.Next());
  sampling.MergeFrom(message.sampling());
  *message.mutable_sampling() = sampling;

  SetLengths(random, request);
  if (options_.max_drafts && !message.has_speculation()) {
    message.mutable_speculation()->set_max_drafts(*options_.max_drafts);
  }
  if (options_.asks_for_token_ids) message.mutable_output()->set_token_ids(true);
  SetPrompt(random, turn.history, request);
  PlanParty(request);
  PlanBehaviour(of_end, request);
  return request;
}

void Workload::PlanParty(PlannedRequest& request) const {
  if (options_.tenants.empty() && options_.priorities.empty()) return;
  SeededRandom random(options_.seed, Purpose::kParty, request.index / options_.turns);
  request.tenant = PickShare(options_.tenants, random.Uniform());
  if (options_.priorities.empty()) return;
  const size_t picked = PickShare(options_.priorities, random.Uniform());
  request.message.mutable_scheduling()->set_priority(options_.priorities[picked].priority);
}

void Workload::SetLengths(SeededRandom& random, PlannedRequest& request) const {
  v1::Stopping& stopping = *request.message.mutable_stopping();
  uint32_t output_tokens = options_.output_tokens.Draw(random);
  if (!trace_.empty()) output_tokens = trace_[request.index % trace_.size()].output_tokens;
  if (!stopping.has_max_tokens()) stopping.set_max_tokens(output_tokens);
  if (!stopping.has_ignore_eos()) stopping.set_ignore_eos(options_.ignore_eos);
}

void Workload::SetPrompt(SeededRandom& random, const std::vector<uint32_t>& history, PlannedRequest& request) const {
  if (!lines_.empty()) return;
  if (!options_.texts.empty()) {
    request.message.set_text(options_.texts[request.index % options_.texts.size()]);
    return;
  }
  Ids& ids = *request.message.mutable_token_ids()->mutable_ids();
  if (!trace_.empty()) return ReplayPrompt(random, trace_[request.index % trace_.size()], ids);
  if (history.empty()) AppendPrefix(request.index / options_.turns, ids);
  ids.Add(history.begin(), history.end());
  AppendRandom(random, options_.prompt_tokens.Draw(random), ids);
}

void Workload::AppendPrefix(uint64_t conversation, Ids& ids) const {
  if (!options_.prefix_tokens) return;
  SeededRandom of_conversation(options_.seed, Purpose::kGroup, conversation);
  // A group's number is no conversation's.
  SeededRandom of_group(~options_.seed, Purpose::kGroup, of_conversation.Below(options_.prefix_groups));
  AppendRandom(of_group, options_.prefix_tokens->Draw(of_group), ids);
}

void Workload::ReplayPrompt(SeededRandom& random, const TraceEntry& entry, Ids& ids) const {
  uint32_t missing = entry.input_tokens;
  for (const uint64_t block : entry.block_ids) {
    const uint32_t num_tokens = std::min(missing, options_.trace_block_tokens);
    SeededRandom of_block(options_.seed, Purpose::kTraceBlock, block);
    AppendRandom(of_block, num_tokens, ids);
    missing -= num_tokens;
  }
  AppendRandom(random, missing, ids);
}

void Workload::AppendRandom(SeededRandom& random, uint32_t num_tokens, Ids& ids) const {
  ids.Reserve(ids.size() + static_cast<int>(num_tokens));
  for (uint32_t i = 0; i < num_tokens; ++i) {
    auto id = static_cast<uint32_t>(random.Below(vocab_size_ - special_ids_.size()));
    // The n-th id that is not special: each special id at or below it moves it up by one.
    for (const uint32_t special : special_ids_) id += special <= id ? 1 : 0;
    ids.Add(id);
  }
}

void Workload::PlanBehaviour(SeededRandom& random, PlannedRequest& request) const {
  double which = random.Uniform();
  const double where = random.Uniform();
  for (const BehaviourShare& entry : options_.adversaries) {
    if (which < entry.share) {
      request.behaviour = entry.behaviour;
      break;
    }
    which -= entry.share;
  }
  request.may_be_refused = options_.accepts_refusals || request.behaviour != Behaviour::kWell;
  Misbehave(where, request);
}

void Workload::Misbehave(double where, PlannedRequest& request) const {
  v1::GenerateRequest& message = request.message;
  const double seconds = std::lerp(options_.min_deadline_seconds, options_.max_deadline_seconds, where);
  switch (request.behaviour) {
    case Behaviour::kCancelDecode:
      request.cancel_after_tokens = 1 + static_cast<uint32_t>(where * (message.stopping().max_tokens() - 1));
      return;
    case Behaviour::kRpcDeadline:
      request.rpc_deadline_seconds = seconds;
      return;
    case Behaviour::kServerTimeout:
      return SetDuration(seconds, message.mutable_scheduling()->mutable_timeout());
    case Behaviour::kSlowReader:
    case Behaviour::kStalledReader:
      // More bytes than the connection takes unread.
      return message.mutable_output()->set_logprobs(kMostLogprobs);
    case Behaviour::kMalformed:
      return Malform(where, message);
    case Behaviour::kOversize:
      return Oversize(where, message);
    case Behaviour::kDuplicateId:
      return message.set_request_id(kDuplicateId);
    case Behaviour::kWell:
    case Behaviour::kCancelQueued:
    case Behaviour::kCancelPrefill:
      return;
  }
}

void Workload::Malform(double where, v1::GenerateRequest& message) const {
  if (where < 0.25) return message.clear_prompt();
  if (where < 0.5) return message.mutable_sampling()->set_temperature(-1.0f);
  if (where < 0.75) return message.mutable_stopping()->set_max_tokens(0);
  message.mutable_token_ids()->Clear();
  message.mutable_token_ids()->add_ids(static_cast<uint32_t>(vocab_size_));
}

// A prompt beyond the context, or a message beyond its bound.
void Workload::Oversize(double where, v1::GenerateRequest& message) const {
  if (where >= 0.5) return message.set_text(std::string(max_message_bytes_ + 1, 'a'));
  const uint32_t id = static_cast<uint32_t>(vocab_size_ - 1);
  message.mutable_token_ids()->mutable_ids()->Resize(static_cast<int>(max_context_tokens_ + 1), id);
}

}  // namespace latentd
