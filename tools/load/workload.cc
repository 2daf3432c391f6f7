#include "tools/load/workload.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

#include "tools/load/jsonl.h"
#include "tools/load/view.h"

namespace latentd {
namespace {

constexpr double kMaxLength = 1e7;  // tokens; far above any context
constexpr uint32_t kMaxAnswers = 64;
constexpr double kDeviationsAboveMean = 4.0;

absl::Status CheckContext(const WorkloadOptions& options, const v1::Model& model) {
  if (!options.jsonl_file.empty() || !options.texts.empty()) return absl::OkStatus();
  const uint32_t context = model.limits().max_context_tokens();
  if (options.prompt_tokens.max + options.output_tokens.max <= context) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "--prompt-tokens (up to %d) and --output-tokens (up to %d) need more than the server's context of %d tokens; "
      "lower them",
      options.prompt_tokens.max, options.output_tokens.max, context));
}

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

uint32_t LengthDistribution::Draw(SeededRandom& random) const {
  const double drawn = std::round(mean + deviation * random.Normal());
  return static_cast<uint32_t>(std::clamp(drawn, static_cast<double>(min), static_cast<double>(max)));
}

absl::StatusOr<LengthDistribution> ParseLengths(std::string_view flag, std::string_view text) {
  const absl::Status refusal = absl::InvalidArgumentError(absl::StrFormat(
      "%s: expected N, MEAN:DEVIATION or MEAN:DEVIATION:MIN:MAX in tokens, with 1 <= MIN <= MEAN <= MAX, found \"%s\"",
      flag, text));
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(View(text), ':')) {
    double number = 0.0;
    if (!absl::SimpleAtod(part, &number) || !(number >= 0.0 && number <= kMaxLength)) return refusal;
    numbers.push_back(number);
  }
  if (numbers.size() == 3 || numbers.size() > 4 || numbers[0] < 1.0) return refusal;
  LengthDistribution lengths{.mean = numbers[0], .deviation = numbers.size() > 1 ? numbers[1] : 0.0};
  const double low = numbers.size() == 4 ? numbers[2] : numbers.size() == 1 ? lengths.mean : 1.0;
  const double high =
      numbers.size() == 4 ? numbers[3] : std::ceil(lengths.mean + kDeviationsAboveMean * lengths.deviation);
  if (low < 1.0 || low > lengths.mean || high < lengths.mean) return refusal;
  lengths.min = static_cast<uint32_t>(low);
  lengths.max = static_cast<uint32_t>(high);
  return lengths;
}

absl::StatusOr<Workload> Workload::Make(WorkloadOptions options, const v1::Model& model) {
  std::vector<v1::GenerateRequest> lines;
  if (!options.jsonl_file.empty()) {
    auto read = ReadJsonl(options.jsonl_file);
    if (!read.ok()) return read.status();
    lines = *std::move(read);
  }
  if (absl::Status status = CheckContext(options, model); !status.ok()) return status;
  Workload workload(std::move(options), model, std::move(lines));
  if (workload.vocab_size_ <= workload.special_ids_.size()) {
    return absl::InvalidArgumentError("expected a model with ids that are not special, found none");
  }
  return workload;
}

Workload::Workload(WorkloadOptions options, const v1::Model& model, std::vector<v1::GenerateRequest> lines)
    : options_(std::move(options)),
      lines_(std::move(lines)),
      vocab_size_(model.vocab_size()),
      special_ids_(model.eos_token_ids().begin(), model.eos_token_ids().end()) {
  if (model.has_bos_token_id()) special_ids_.push_back(model.bos_token_id());
  std::sort(special_ids_.begin(), special_ids_.end());
  special_ids_.erase(std::unique(special_ids_.begin(), special_ids_.end()), special_ids_.end());
}

PlannedRequest Workload::Plan(uint64_t index) const {
  SeededRandom random(options_.seed, Purpose::kRequest, index);
  PlannedRequest request;
  request.index = index;
  v1::GenerateRequest& message = request.message;
  if (!lines_.empty()) message = lines_[index % lines_.size()];

  // What is drawn first does not move when an option changes how much is drawn after it: a seed gives the same prompts
  // with and without cancels.
  SeededRandom of_end(random.Next(), Purpose::kRequest, index);
  v1::Sampling sampling = options_.sampling;
  sampling.set_seed(random.Next());
  sampling.MergeFrom(message.sampling());
  *message.mutable_sampling() = sampling;

  v1::Stopping& stopping = *message.mutable_stopping();
  const uint32_t output_tokens = options_.output_tokens.Draw(random);
  if (!stopping.has_max_tokens()) stopping.set_max_tokens(output_tokens);
  if (!stopping.has_ignore_eos()) stopping.set_ignore_eos(options_.ignore_eos);
  if (options_.max_drafts && !message.has_speculation()) {
    message.mutable_speculation()->set_max_drafts(*options_.max_drafts);
  }
  if (options_.asks_for_token_ids) message.mutable_output()->set_token_ids(true);
  SetPrompt(random, request);
  PlanEnd(of_end, request);
  return request;
}

void Workload::SetPrompt(SeededRandom& random, PlannedRequest& request) const {
  if (!lines_.empty()) return;
  if (!options_.texts.empty()) {
    request.message.set_text(options_.texts[request.index % options_.texts.size()]);
    return;
  }
  const uint32_t num_tokens = options_.prompt_tokens.Draw(random);
  google::protobuf::RepeatedField<uint32_t>& ids = *request.message.mutable_token_ids()->mutable_ids();
  ids.Reserve(static_cast<int>(num_tokens));
  for (uint32_t i = 0; i < num_tokens; ++i) {
    auto id = static_cast<uint32_t>(random.Below(vocab_size_ - special_ids_.size()));
    // The n-th id that is not special: each special id at or below it moves it up by one.
    for (const uint32_t special : special_ids_) id += special <= id ? 1 : 0;
    ids.Add(id);
  }
}

void Workload::PlanEnd(SeededRandom& random, PlannedRequest& request) const {
  const double which = random.Uniform();
  const bool first_half = random.Uniform() < 0.5;
  const double where = random.Uniform();
  if (which < options_.cancel_fraction) {
    request.planned_end = PlannedEnd::kCancel;
    const uint32_t most = request.message.stopping().max_tokens() - 1;
    if (!first_half && most > 0) request.cancel_after_tokens = 1 + static_cast<uint32_t>(where * most);
  } else if (which < options_.cancel_fraction + options_.deadline_fraction) {
    const double seconds = std::lerp(options_.min_deadline_seconds, options_.max_deadline_seconds, where);
    request.planned_end = first_half ? PlannedEnd::kRpcDeadline : PlannedEnd::kServerTimeout;
    if (first_half) {
      request.rpc_deadline_seconds = seconds;
    } else {
      SetDuration(seconds, request.message.mutable_scheduling()->mutable_timeout());
    }
  }
}

}  // namespace latentd
