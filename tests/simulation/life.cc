#include "tests/simulation/life.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "base/check.h"

namespace latentd::simulation {
namespace {

// As where two RPCs take their ids in one order and submit in the other.
RequestId IdOf(int number) { return static_cast<RequestId>(number ^ 1) + 1; }

}  // namespace

int SequenceLife::num_prompt_tokens() const { return life->num_prompt_tokens(); }

int SequenceLife::most_tokens(int max_context_tokens) const {
  const int output = life->generates() ? life->request.stopping.max_tokens : 0;
  return std::min(num_prompt_tokens() + output, max_context_tokens);
}

int32_t SequenceLife::TokenAt(int position) const {
  const auto& prompt = life->planned->request.prompt;
  const auto place = static_cast<size_t>(position);
  if (place < prompt.size()) return prompt[place];
  const size_t generated = place - prompt.size();
  return generated < quiet.generated.size() ? quiet.generated[generated] : -1;
}

bool SequenceLife::HasTokens(std::span<const int32_t> first) const {
  const std::span<const int32_t> prompt = life->planned->request.prompt;
  const size_t num_prompt = std::min(first.size(), prompt.size()), rest = first.size() - num_prompt;
  return rest <= quiet.generated.size() && std::ranges::equal(first.first(num_prompt), prompt.first(num_prompt)) &&
         std::ranges::equal(first.last(rest), std::span(quiet.generated).first(rest));
}

SequenceId SequenceLife::id() const { return {.request = life->request.id, .index = index}; }

std::string SequenceLife::Name() const {
  if (life->request.num_sequences == 1) return absl::StrFormat("request %d", life->number());
  return absl::StrFormat("request %d, sequence %d", life->number(), index);
}

int Life::most_prompt_computed() const {
  int most = 0;
  for (const SequenceLife& sequence : sequences) most = std::max(most, sequence.most_computed);
  return std::min(most, num_prompt_tokens());
}

int Life::num_taken() const {
  size_t num_tokens = 0;
  for (const SequenceLife& sequence : sequences) num_tokens += sequence.tokens.size();
  return static_cast<int>(num_tokens);
}

bool Life::SharesWith(const Life& other) const {
  return request.scheduling.tenant == other.request.scheduling.tenant && request.cache.salt == other.request.cache.salt;
}

TimePoint Life::Expiry(Duration slow_consumer) const {
  if (!has_started) return std::min({request.deadline, request.queue_deadline, request.scheduling.first_token_by});
  if (!is_paused || paused_from == kNever) return request.deadline;
  return std::min(request.deadline, paused_from + slow_consumer);
}

FinishReason Life::ExpiryReason(TimePoint now) const {
  if (!has_started) {
    const bool is_over = std::min(request.deadline, request.queue_deadline) <= now;
    return is_over ? FinishReason::kExpiredInQueue : FinishReason::kSloUnattainable;
  }
  if (request.deadline > now) return FinishReason::kSlowConsumer;
  return has_token ? FinishReason::kExpiredInDecode : FinishReason::kExpiredInPrefill;
}

Lives::Lives(const Scenario& scenario) {
  lives_.reserve(scenario.requests.size());
  for (const PlannedRequest& planned : scenario.requests) {
    Life& life = lives_.emplace_back();
    life.planned = &planned;
    life.request = planned.request;
    life.request.id = IdOf(planned.number);
    life.sequences.resize(static_cast<size_t>(life.request.num_sequences));
    for (size_t i = 0; i < life.sequences.size(); ++i) {
      life.sequences[i].life = &life;
      life.sequences[i].index = static_cast<int>(i);
    }
    places_.resize(std::max(places_.size(), static_cast<size_t>(planned.number) + 1), -1);
    places_[static_cast<size_t>(planned.number)] = static_cast<int>(lives_.size()) - 1;
  }
}

Life* Lives::ByNumber(int number) {
  if (number < 0 || number >= static_cast<int>(places_.size())) return nullptr;
  const int place = places_[static_cast<size_t>(number)];
  return place < 0 ? nullptr : &lives_[static_cast<size_t>(place)];
}

Life& Lives::ById(RequestId id) {
  Life* life = ByNumber(static_cast<int>((id - 1) ^ 1));
  CHECK(life != nullptr);
  return *life;
}

SequenceLife& Lives::ById(SequenceId id) {
  Life& life = ById(id.request);
  CHECK(id.index >= 0 && id.index < static_cast<int>(life.sequences.size()));
  return life.sequences[static_cast<size_t>(id.index)];
}

}  // namespace latentd::simulation
