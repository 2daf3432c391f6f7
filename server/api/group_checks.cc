#include "server/api/group_checks.h"

#include <algorithm>

#include <absl/strings/str_format.h>
#include <google/protobuf/duration.pb.h>

#include "engine/model/config/sampling_ranges.h"
#include "engine/request.h"
#include "server/api/request_bounds.h"
#include "server/api/sampling_numbers.h"

namespace latentd {
namespace {

constexpr int64_t kSecondsPerDay = 86400;
constexpr int32_t kNanosPerSecond = 1'000'000'000;

std::string Indexed(std::string_view field, int index) { return absl::StrFormat("%s[%d]", field, index); }

// Every digit of it, which a double may not hold. `nanos` is not negative.
std::string TextOf(const google::protobuf::Duration& duration) {
  const bool is_negative = duration.seconds() < 0 && duration.nanos() > 0;
  const int64_t seconds = is_negative ? -(duration.seconds() + 1) : duration.seconds();
  const int32_t nanos = is_negative ? kNanosPerSecond - duration.nanos() : duration.nanos();
  std::string text = absl::StrFormat("%s%d.%09d", is_negative ? "-" : "", seconds, nanos);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// At most a day; 0 where that is included.
void CheckDuration(std::string_view field, const google::protobuf::Duration& duration, Lowest zero,
                   FieldChecks& checks) {
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  if (nanos < 0 || nanos >= kNanosPerSecond) {
    return checks.Invalid(field, absl::StrFormat("expected nanos in 0 to 999999999, found %d", nanos));
  }
  const bool is_zero = seconds == 0 && nanos == 0;
  const bool is_long_enough = is_zero ? zero == Lowest::kIncluded : seconds >= 0;
  if (is_long_enough && (seconds < kSecondsPerDay || (seconds == kSecondsPerDay && nanos == 0))) return;
  const std::string highest = NumberText(kSecondsPerDay);
  checks.Invalid(field, zero == Lowest::kExcluded
                            ? AboveZero(highest, TextOf(duration))
                            : absl::StrFormat("expected 0 to %s, found %s", highest, TextOf(duration)));
}

template <class Texts>
void CheckLengths(std::string_view field, const Texts& texts, size_t highest, FieldChecks& checks) {
  for (int i = 0; i < texts.size() && !checks.is_full(); ++i) {
    const std::string& text = texts[i];
    if (text.empty() || text.size() > highest) checks.Length(Indexed(field, i), text, 1, highest);
  }
}

void CheckLogitBias(const v1::Sampling& sampling, const v1::Model& model, FieldChecks& checks) {
  if (!checks.Count("sampling.logit_bias", static_cast<size_t>(sampling.logit_bias_size()), kMaxLogitBiases)) return;
  for (const auto& [id, bias] : sampling.logit_bias()) {
    if (checks.is_full()) return;
    const std::string field = absl::StrFormat("sampling.logit_bias[%d]", id);
    checks.TokenId(field, id, model.vocab_size());
    checks.Range(field, bias, -100.0f, 100.0f);
  }
}

}  // namespace

void CheckSampling(const v1::Sampling& sampling, const v1::Model& model, FieldChecks& checks) {
  CheckNumbers(sampling, checks);
  CheckLogitBias(sampling, model, checks);
  const auto& allowed = sampling.allowed_token_ids();
  if (checks.Count("sampling.allowed_token_ids", static_cast<size_t>(allowed.size()), model.vocab_size())) {
    checks.TokenIds("sampling.allowed_token_ids", allowed, model.vocab_size());
  }
  if (checks.Count("sampling.bad_words", static_cast<size_t>(sampling.bad_words_size()), kMaxBadWords)) {
    CheckLengths("sampling.bad_words", sampling.bad_words(), 256, checks);
  }
  checks.Unsupported(sampling.bad_words_size() > 0, "sampling.bad_words", "forbidden texts are not implemented");
  if (sampling.has_n()) checks.Range("sampling.n", sampling.n(), 1, 64);
}

void CheckStopping(const v1::Stopping& stopping, const v1::Model& model, FieldChecks& checks) {
  const uint32_t context = model.limits().max_context_tokens();
  if (stopping.has_max_tokens()) checks.Range("stopping.max_tokens", stopping.max_tokens(), 1, context);
  const uint32_t most = stopping.has_max_tokens() ? std::min(stopping.max_tokens(), context) : context;
  checks.Range("stopping.min_tokens", stopping.min_tokens(), 0, most);
  if (checks.Count("stopping.stop", static_cast<size_t>(stopping.stop_size()), kMaxStopStrings)) {
    CheckLengths("stopping.stop", stopping.stop(), kMaxStopBytes, checks);
  }
  if (stopping.stop_size() > 0 && !model.has_tokenizer()) {
    checks.Invalid("stopping.stop", "stop strings need a tokenizer and the model has none; use stop_token_ids");
  }
  const auto& stop_ids = stopping.stop_token_ids();
  if (checks.Count("stopping.stop_token_ids", static_cast<size_t>(stop_ids.size()), kMaxStopTokenIds)) {
    checks.TokenIds("stopping.stop_token_ids", stop_ids, model.vocab_size());
  }
}

void CheckConstraint(const v1::Constraint& constraint, FieldChecks& checks) {
  if (constraint.kind_case() == v1::Constraint::KIND_NOT_SET) return;
  const auto* descriptor = v1::Constraint::descriptor();
  const std::string field = "constraint." + descriptor->FindFieldByNumber(constraint.kind_case())->name();
  checks.Count("constraint.choice.texts", static_cast<size_t>(constraint.choice().texts_size()), kMaxChoices);
  checks.Unsupported(true, field, "constrained generation is not implemented");
}

void CheckOutput(const v1::Output& output, const v1::Model& model, FieldChecks& checks) {
  if (output.text() && !model.has_tokenizer()) {
    checks.Invalid("output.text", "text needs a tokenizer and the model has none; ask for token_ids");
  }
  if (output.has_skip_special_tokens() && !model.has_tokenizer()) {
    checks.Invalid("output.skip_special_tokens", "text needs a tokenizer and the model has none; leave it unset");
  }
  if (output.has_logprobs()) checks.Range("output.logprobs", output.logprobs(), 0, kMaxTopLogprobs);
  if (output.has_prompt_logprobs()) {
    checks.Range("output.prompt_logprobs", output.prompt_logprobs(), 0, kMaxTopLogprobs);
  }
  checks.Unsupported(output.has_prompt_logprobs(), "output.prompt_logprobs",
                     "log-probabilities of the prompt come from Score, not with a generation");
  checks.Unsupported(output.echo(), "output.echo", "echoing the prompt is not implemented");
}

void CheckCache(const v1::Cache& cache, FieldChecks& checks) {
  checks.Length("cache.salt", cache.salt(), 0, 128);
  if (!cache.has_keep_for()) return;
  CheckDuration("cache.keep_for", cache.keep_for(), Lowest::kIncluded, checks);
  if (cache.no_store()) checks.Invalid("cache.keep_for", "expected none together with no_store=true: nothing is kept");
}

void CheckScheduling(const v1::Scheduling& scheduling, FieldChecks& checks) {
  if (scheduling.has_queue_timeout())
    CheckDuration("scheduling.queue_timeout", scheduling.queue_timeout(), Lowest::kExcluded, checks);
  if (scheduling.has_timeout()) CheckDuration("scheduling.timeout", scheduling.timeout(), Lowest::kExcluded, checks);
  if (scheduling.has_ttft_slo()) CheckDuration("scheduling.ttft_slo", scheduling.ttft_slo(), Lowest::kExcluded, checks);
  checks.Range("scheduling.priority", scheduling.priority(), kLowestPriority, kHighestPriority);
}

void CheckSpeculation(const v1::Speculation& speculation, FieldChecks& checks) {
  checks.Range("speculation.max_drafts", speculation.max_drafts(), 0, kMaxDrafts);
}

void CheckRequestId(std::string_view request_id, FieldChecks& checks) {
  checks.Length("request_id", request_id, 1, 128);
  for (const char c : request_id) {
    if (c > ' ' && c <= '~') continue;
    checks.Invalid("request_id", "expected printable ASCII without spaces");
    return;
  }
}

}  // namespace latentd
