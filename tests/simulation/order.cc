#include "tests/simulation/order.h"

#include <algorithm>

#include <absl/strings/str_format.h>

#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

constexpr double kServiceError = 1e-6;  // of sums in another order
// A sequence that generated before it was preempted has a token or two left to compute.
constexpr double kMostLeft = 2.0;
constexpr Duration kSlack = std::chrono::milliseconds(100);

bool IsGenerating(const SequenceLife& sequence) {
  return sequence.num_generated > 0 && sequence.num_computed == sequence.num_tokens() - 1;
}

bool HasRow(std::span<const LaunchedRow> rows, const SequenceLife* sequence) {
  return std::any_of(rows.begin(), rows.end(), [=](const LaunchedRow& row) { return row.sequence == sequence; });
}

bool IsIn(std::span<SequenceLife* const> some, const SequenceLife* sequence) {
  return std::find(some.begin(), some.end(), sequence) != some.end();
}

// What the row adds to its tenant's service: nothing for what was found or computed before.
int64_t ServiceOf(const LaunchedRow& row) {
  const SequenceLife& sequence = *row.sequence;
  const int num_prompt = sequence.num_prompt_tokens();
  const int first = std::max({row.first_new_position(), sequence.prompt_accounted, sequence.most_computed});
  const int num_new = std::max(0, std::min(row.end_position(), num_prompt) - first);
  const int num_drawn = row.num_logits - row.num_drafts;
  return num_new + kCostOfGenerated * (sequence.life->generates() ? num_drawn : 0);
}

}  // namespace

Ranking::Place Ranking::PlaceOf(SequenceLife& sequence, TimePoint now) const {
  const Request& request = sequence.life->request;
  const int most = options_.tenants.Of(request.scheduling.tenant).max_priority;
  const int priority = std::min(request.scheduling.priority, most);
  const auto classes = static_cast<int64_t>((now - request.received) / FromSeconds(options_.ageing_seconds));
  return {.sequence = &sequence, .priority = priority, .aged = priority + classes};
}

void Ranking::Remember(Lives& lives, TimePoint now) {
  now_ = now;
  running_.clear();
  waiting_.clear();
  num_by_priority_ = scheduler_.totals().preemptions[static_cast<size_t>(PreemptionReason::kPriority)];
  lives.ForEachInEngine([&](SequenceLife& sequence) {
    if (sequence.must_end || sequence.life->is_paused) return;
    const bool has_prompt = sequence.index == 0 || sequence.prompt_accounted > 0;
    if (!sequence.waits()) running_.push_back(PlaceOf(sequence, now));
    if (sequence.waits() && has_prompt) waiting_.push_back(PlaceOf(sequence, now));
  });
}

void Ranking::Check(std::span<const LaunchedRow> rows, std::span<SequenceLife* const> preempted) {
  found_.clear();
  scheduler_.ForEach([this](const Sequence& sequence) { found_.emplace(sequence.id(), &sequence); });
  CheckGenerating(rows, preempted);
  // With preemptions the queue changes while the plan is made.
  if (preempted.empty()) {
    CheckStarts(rows);
  } else {
    CheckPreemptions(rows, preempted);
  }
  for (const LaunchedRow& row : rows) {
    service_[NameOf(*row.sequence)] += ServiceOf(row);
  }
  CheckService();
  if (most_service_ > 0) CheckShares();
}

void Ranking::ChargeDrafts(const LaunchedRow& row) {
  service_[NameOf(*row.sequence)] += kCostOfGenerated * row.num_accepted + (row.num_drafts - row.num_accepted);
}

// Where blocks are lacking the lowest class loses its own, and some row goes on. A prompt comes after the rows that
// decode and takes nothing from one that has its row.
void Ranking::CheckPreemptions(std::span<const LaunchedRow> rows, std::span<SequenceLife* const> preempted) const {
  Require(!rows.empty(), Rule::kLiveness, [] { return "sequences are preempted and none goes on"; });
  const uint64_t by_priority = scheduler_.totals().preemptions[static_cast<size_t>(PreemptionReason::kPriority)];
  const auto prefills = [](const LaunchedRow& row) { return !row.has_waited && !IsGenerating(*row.sequence); };
  if (by_priority != num_by_priority_) return;
  const bool has_prompt = std::any_of(rows.begin(), rows.end(), prefills);
  int highest = kLowestPriority;
  for (const Place& place : waiting_) highest = std::max(highest, place.priority);
  for (const Place& lost : running_) {
    if (!IsIn(preempted, lost.sequence)) continue;
    for (const Place& kept : running_) {
      if (IsIn(preempted, kept.sequence) || (has_prompt && HasRow(rows, kept.sequence))) continue;
      Require(lost.ClassUpTo(highest) <= kept.ClassUpTo(highest), Rule::kOrder, [&] {
        return absl::StrFormat("%s of class %d loses its blocks, %s of class %d keeps its own", lost.sequence->Name(),
                               lost.ClassUpTo(highest), kept.sequence->Name(), kept.ClassUpTo(highest));
      });
    }
  }
}

// From the last row back: the queue then held those that wait on and those that came later in the plan; the tenants'
// services lacked what those got.
void Ranking::CheckStarts(std::span<const LaunchedRow> rows) {
  std::erase_if(waiting_, [this](const Place& place) {
    const auto found = found_.find(place.sequence->id());
    return found == found_.end() || found->second->phase != SequencePhase::kWaiting;
  });
  int highest = kLowestPriority;
  for (const Place& place : waiting_) highest = std::max(highest, place.priority);
  later_.clear();
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    const auto found = found_.find(row->sequence->id());
    if (found == found_.end()) continue;
    const Tenant& tenant = *found->second->standing.tenant;
    later_[&tenant] += static_cast<double>(ServiceOf(*row)) / tenant.rule.weight;
    if (!row->has_waited) continue;
    const Place started = PlaceOf(*row->sequence, now_);
    highest = std::max(highest, started.priority);
    for (const Place& passed : waiting_) CheckStart(started, passed, highest);
  }
}

void Ranking::CheckStart(const Place& started, const Place& passed, int highest) {
  const int64_t its_class = started.ClassUpTo(highest), other_class = passed.ClassUpTo(highest);
  Require(other_class <= its_class, Rule::kOrder, [&] {
    return absl::StrFormat("%s of class %d starts, %s of class %d waits on", started.sequence->Name(), its_class,
                           passed.sequence->Name(), other_class);
  });
  const Tenant& tenant = *found_.at(started.sequence->id())->standing.tenant;
  const Tenant& other = *found_.at(passed.sequence->id())->standing.tenant;
  if (its_class != other_class) return;
  if (&tenant == &other) return CheckComeback(started, passed);
  const double service = tenant.service - later_[&tenant], other_service = other.service - later_[&other];
  Require(other_service >= service - kServiceError * (1.0 + service), Rule::kShare, [&] {
    return absl::StrFormat("%s starts, whose tenant had %.6f, and not %s, whose tenant had %.6f",
                           started.sequence->Name(), service, passed.sequence->Name(), other_service);
  });
}

// Within one tenant, class and priority a preempted sequence comes back with the place of its arrival.
void Ranking::CheckComeback(const Place& started, const Place& passed) const {
  const auto is_due = [](const Request& request) {
    return request.deadline != kNever || request.scheduling.first_token_by != kNever;
  };
  const Request& request = started.sequence->life->request;
  const Request& other = passed.sequence->life->request;
  const bool has_little_left = passed.sequence->is_preempted && passed.sequence->num_generated > 0;
  if (is_due(request) || is_due(other) || !has_little_left || started.priority != passed.priority) return;
  const double rate = passed.sequence->rate_at_wait;
  const Duration put_off = rate > 0.0 ? FromSeconds(kAgeCredit * kMostLeft / rate) : Duration{};
  Require(other.received + put_off + kSlack >= request.received, Rule::kOrder, [&] {
    return absl::StrFormat("%s starts, %s came %.3f s before and was preempted", started.sequence->Name(),
                           passed.sequence->Name(), Seconds(request.received - other.received));
  });
}

// A row for its next token has each sequence that could have one, in a step with room for it: drafts take none of that.
// Where steps are too small for all it takes turns with the others.
void Ranking::CheckGenerating(std::span<const LaunchedRow> rows, std::span<SequenceLife* const> preempted) const {
  int num_tokens = 0, num_logits = 0;
  for (const LaunchedRow& row : rows) {
    num_tokens += row.num_tokens - row.num_drafts;
    num_logits += row.num_logits - row.num_drafts;
  }
  const bool is_full = num_tokens >= options_.max_step_tokens || std::ssize(rows) >= options_.max_step_rows ||
                       num_logits >= options_.max_step_logits;
  for (const Place& place : running_) {
    SequenceLife& sequence = *place.sequence;
    const auto found = found_.find(sequence.id());
    const bool could_go_on = IsGenerating(sequence) && found != found_.end() && !IsIn(preempted, &sequence);
    if (!could_go_on || HasRow(rows, &sequence)) {
      sequence.num_steps_without = 0;
      sequence.most_beside = 0;
      continue;
    }
    const bool has_block = found->second->blocks.num_blocks() >= BlocksFor(sequence.num_tokens()) ||
                           scheduler_.cache().num_available() > 0;
    Require(is_full || !has_block, Rule::kLiveness,
            [&] { return sequence.Name() + " gets no row for its next token in a step that has room for it"; });
    sequence.most_beside = std::max<int64_t>(sequence.most_beside, std::ssize(running_));
    Require(++sequence.num_steps_without <= 2 * sequence.most_beside || !has_block, Rule::kLiveness,
            [&] { return absl::StrFormat("%s had no row in %d steps", sequence.Name(), sequence.num_steps_without); });
  }
}

std::string Ranking::NameOf(const SequenceLife& sequence) const {
  const std::string& tenant = sequence.life->request.scheduling.tenant;
  return options_.tenants.listed.contains(tenant) ? tenant : std::string();
}

void Ranking::CheckService() const {
  const auto check = [this](const std::string& name, int64_t found) {
    const auto place = service_.find(name);
    const int64_t expected = place == service_.end() ? 0 : place->second;
    Require(found == expected, Rule::kShare,
            [&] { return absl::StrFormat("tenant '%s' is charged %d tokens, it got %d", name, found, expected); });
  };
  scheduler_.tenants().ForEachListed([&](const Tenant& tenant) {
    check(tenant.name, tenant.service_tokens);
    const double least = static_cast<double>(tenant.service_tokens) / tenant.rule.weight;
    Require(tenant.service >= least * (1.0 - kServiceError), Rule::kShare, [&] {
      return absl::StrFormat("tenant '%s' has a service of %f, its weight makes %f of its tokens", tenant.name,
                             tenant.service, least);
    });
  });
  check("", scheduler_.tenants().service_tokens_of_others());
}

// While two tenants wait, the one that leads has no start: from its last one on it gains no more than what its running
// sequences have left.
void Ranking::CheckShares() {
  std::map<std::string, const Tenant*> waiting;
  for (const auto& [id, sequence] : found_) {
    const Tenant* const tenant = sequence->standing.tenant;
    if (sequence->phase == SequencePhase::kWaiting) waiting.emplace(tenant->name, tenant);
  }
  std::erase_if(leads_, [&](const auto& lead) {
    return !waiting.contains(lead.first.first) || !waiting.contains(lead.first.second);
  });
  const auto most = static_cast<double>((options_.max_step_rows + 1) * most_service_);
  for (const auto& tenant_at : waiting) {
    for (const auto& other_at : waiting) {
      const Tenant *const tenant = tenant_at.second, *const other = other_at.second;
      if (tenant == other) continue;
      const double lead = tenant->service - other->service;
      const double at_first = leads_.try_emplace({tenant->name, other->name}, lead).first->second;
      Require(lead <= std::max(0.0, at_first) + most / tenant->rule.weight, Rule::kShare, [&] {
        return absl::StrFormat("tenant %s had %.0f more than tenant %s", tenant->name, lead, other->name);
      });
    }
  }
}

}  // namespace latentd::simulation
