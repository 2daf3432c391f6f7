#include "engine/step/speculation.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace latentd {
namespace {

// Acceptance before any draft was verified, of the first and of each further one beside the one before it: as if
// so many drafts had shown it.
constexpr double kFirstAcceptance = 0.7, kFurtherAcceptance = 0.9, kPriorDrafts = 4.0;
constexpr double kForgotten = 1.0 / 128;  // by each draft
// While nothing is drafted acceptance ages unseen: a look weighs at least as much beside what was known before.
constexpr double kRememberedDrafts = 16.0;

// What a first draft adds to a step before any look; a further one adds what the one before it did.
constexpr double kFirstDraftSeconds = 0.5;
constexpr double kLeastWeight = 0.3;  // of the newest look

// Another k must be so much better, or the choice would follow the noise. Below 1 nothing is drafted.
constexpr double kPays = 1.03, kIsBetter = 1.02;

// A look wastes a step as it begins and ends, in which drafts are made or verified but not both; after one without
// drafts the module has lost sight of what lies before.
constexpr double kWasteOfTurns = 1.0, kWasteOfHole = 3.0;
constexpr double kShareOfLooks = 0.005, kMostCredit = 16.0;
constexpr int kPatience = 32;
constexpr int kMostElsewhere = 16;    // steps of other numbers of rows, after which the last ones are no comparison
constexpr double kWorthOfNone = 3.0;  // of looks at steps without drafts, which all others are measured by
constexpr double kSurprising = 1.25;  // steps that take so many times as long as when they were compared

size_t Index(int number) { return static_cast<size_t>(number); }

}  // namespace

double Speculation::Samples::Median() const {
  std::array<double, kNumSamples> sorted = seconds;
  std::nth_element(sorted.begin(), sorted.begin() + kNumSamples / 2, sorted.end());
  return sorted[kNumSamples / 2];
}

void Speculation::Choice::Learn(double found) {
  ++num_looks;
  seconds += std::max(kLeastWeight, 1.0 / num_looks) * (found - seconds);
}

// The first whose most rows, 1, 2, 3, 4, 6, 8, 12 …, are as many.
int Speculation::BucketOf(int num_rows) {
  int most = 1, next = 2;
  for (int index = 0; index < kNumBuckets - 1; ++index) {
    if (num_rows <= most) return index;
    const int after = index == 0 ? 3 : 2 * most;
    most = next;
    next = after;
  }
  return kNumBuckets - 1;
}

int Speculation::DraftsFor(int num_rows) const {
  const Bucket& bucket = buckets_[Index(BucketOf(num_rows))];
  return bucket.look ? bucket.look->num_drafts : bucket.chosen;
}

void Speculation::CountDrafts(int num_verified, int num_accepted) {
  CHECK(num_accepted <= num_verified && num_verified <= kMaxDrafts);
  for (int draft = 0; draft < std::min(num_accepted + 1, num_verified); ++draft) {
    double& verified = verified_[Index(draft)];
    double& accepted = accepted_[Index(draft)];
    verified += 1.0 - kForgotten * verified;
    accepted += (draft < num_accepted ? 1.0 : 0.0) - kForgotten * accepted;
  }
}

Speculation::ByDrafts Speculation::Tokens() const {
  ByDrafts tokens{1.0};
  double reached = 1.0, expected = kFirstAcceptance;
  for (int k = 1; k <= kMaxDrafts; ++k) {
    const double verified = verified_[Index(k - 1)], accepted = accepted_[Index(k - 1)];
    const double acceptance = (accepted + kPriorDrafts * expected) / (verified + kPriorDrafts);
    reached *= acceptance;
    tokens[Index(k)] = tokens[Index(k - 1)] + reached;
    expected = kFurtherAcceptance * acceptance;
  }
  return tokens;
}

// Steps that a look at k wastes, whose seconds and tokens are so many times those of what is chosen.
double Speculation::WasteOfLook(int k, double seconds, double tokens) {
  return kWasteOfTurns + (k == 0 ? kWasteOfHole : 0.0) + kNumSamples * std::max(0.0, seconds - tokens);
}

double Speculation::TokensWith(int num_drafts) const { return Tokens()[Index(num_drafts)]; }

std::optional<double> Speculation::MeasuredNear(int index, int num_drafts) const {
  for (int distance = 0; distance < kNumBuckets; ++distance) {
    for (const int near : {index - distance, index + distance}) {
      if (near < 0 || near >= kNumBuckets) continue;
      const Choice& choice = buckets_[Index(near)].choices[Index(num_drafts)];
      if (choice.num_looks > 0) return choice.seconds;
    }
  }
  return std::nullopt;
}

Speculation::ByDrafts Speculation::SecondsIn(int index) const {
  ByDrafts seconds{1.0};
  double added = kFirstDraftSeconds;
  for (int k = 1; k <= max_drafts_; ++k) {
    const double fewer = seconds[Index(k - 1)];
    seconds[Index(k)] = MeasuredNear(index, k).value_or(fewer + added);
    added = std::max(0.0, seconds[Index(k)] - fewer);
  }
  return seconds;
}

void Speculation::Choose(Bucket& bucket) const {
  const ByDrafts tokens = Tokens();
  const auto rate = [&](int k) { return tokens[Index(k)] / bucket.choices[Index(k)].seconds; };
  int best = 0;
  for (int k = 1; k <= max_drafts_; ++k) {
    if (bucket.choices[Index(k)].num_looks > 0 && rate(k) > rate(best)) best = k;
  }
  int next = bucket.chosen;
  if (rate(next) < 1.0) next = 0;
  if (rate(best) > (next == 0 ? kPays : kIsBetter) * rate(next)) next = best;
  if (next == bucket.chosen) return;
  bucket.choices[Index(bucket.chosen)].looked_at = bucket.num_steps;
  bucket.chosen = next;
  bucket.samples = {};
  bucket.compared_at = 0.0;
}

void Speculation::Observe(const Step& step) {
  if (max_drafts_ == 0 || step.num_rows <= 0 || step.seconds <= 0.0) return;
  const int index = BucketOf(step.num_rows);
  Bucket& bucket = buckets_[Index(index)];
  ++num_steps_;
  const int64_t steps_elsewhere = num_steps_ - 1 - std::exchange(bucket.last_step, num_steps_);
  if (steps_elsewhere > kMostElsewhere) {
    bucket.samples = {};
    if (bucket.look) EndLook(bucket);
  }
  if (bucket.look) return ObserveLook(bucket, step);
  if (step.num_drafts != bucket.chosen) return;
  ++bucket.num_steps;
  bucket.credit = std::min(kMostCredit, bucket.credit + kShareOfLooks);
  bucket.samples.Add(step.seconds);
  Choose(bucket);
  if (bucket.samples.is_full()) StartLook(index);
}

// At what was not looked at for long, given what such a look wastes; once that may be wasted. Where steps take longer
// than they did, drafts may pay no more: then at steps without them.
void Speculation::StartLook(int index) {
  Bucket& bucket = buckets_[Index(index)];
  if (bucket.compared_at == 0.0) bucket.compared_at = bucket.samples.Median();
  const ByDrafts tokens = Tokens(), seconds = SecondsIn(index);
  Look look{.steps_left = kPatience, .samples = {}};
  if (bucket.chosen > 0 && bucket.samples.Median() > kSurprising * bucket.compared_at) {
    if (bucket.credit >= 0.0) bucket.look = look;
    return;
  }
  double highest = 0.0;
  for (int k = 0; k <= max_drafts_; ++k) {
    if (k == bucket.chosen) continue;
    const double waste = WasteOfLook(k, seconds[Index(k)] / seconds[Index(bucket.chosen)],
                                     tokens[Index(k)] / tokens[Index(bucket.chosen)]);
    const int64_t age = bucket.num_steps - bucket.choices[Index(k)].looked_at;
    const double score = (k == 0 ? kWorthOfNone : 1.0) * static_cast<double>(age) / waste;
    if (waste > kMostCredit || score <= highest) continue;
    highest = score;
    look.num_drafts = k;
    look.waste = waste;
  }
  if (highest == 0.0 || look.waste > bucket.credit) return;
  if (bucket.chosen == 0) Forget();
  bucket.look = look;
}

void Speculation::ObserveLook(Bucket& bucket, const Step& step) {
  Look& look = *bucket.look;
  if (step.num_drafts == look.num_drafts) look.samples.Add(step.seconds);
  if (look.samples.is_full()) return FinishLook(bucket);
  if (--look.steps_left == 0) EndLook(bucket);
}

void Speculation::FinishLook(Bucket& bucket) {
  Look& look = *bucket.look;
  const int k = look.num_drafts;
  const double found = look.samples.Median() / bucket.samples.Median();
  const ByDrafts tokens = Tokens();
  look.waste = WasteOfLook(k, found, tokens[Index(k)] / tokens[Index(bucket.chosen)]);
  // Steps without drafts are what all others are measured by.
  if (k == 0) {
    CompareWithNone(bucket, 1.0 / found);
  } else {
    bucket.choices[Index(k)].Learn(found * bucket.choices[Index(bucket.chosen)].seconds);
  }
  EndLook(bucket);
  Choose(bucket);
}

// The others were compared with what is chosen: what is found about that holds for them, too.
void Speculation::CompareWithNone(Bucket& bucket, double seconds) {
  Choice& chosen = bucket.choices[Index(bucket.chosen)];
  const double median = bucket.samples.Median();
  if (median > kSurprising * bucket.compared_at) chosen.num_looks = 0;
  bucket.compared_at = median;
  const double before = chosen.seconds;
  chosen.Learn(seconds);
  const double times = chosen.seconds / before;
  for (int k = 1; k <= max_drafts_; ++k) {
    if (k != bucket.chosen) bucket.choices[Index(k)].seconds *= times;
  }
}

void Speculation::EndLook(Bucket& bucket) {
  bucket.choices[Index(bucket.look->num_drafts)].looked_at = bucket.num_steps;
  bucket.credit -= bucket.look->waste;
  bucket.samples = {};
  bucket.look.reset();
}

void Speculation::Forget() {
  const double share = std::min(1.0, kRememberedDrafts / std::max(1.0, verified_.front()));
  for (double& verified : verified_) verified *= share;
  for (double& accepted : accepted_) accepted *= share;
}

}  // namespace latentd
