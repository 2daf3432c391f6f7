// Logits to token ids, one row per item: penalties, logit bias, masks, temperature, top-k, top-p, min-p, then the draw
// by inverse CDF over the kept tokens in descending order, ties to the lower id (docs/spec/api.md 1).
//
// Nothing is sorted. Weights are rounded to multiples of 2^-32, so fp64 sums of up to 2^21 of them are exact whatever
// the order of adding, and "the shortest prefix whose sum reaches x" is found by halving: split around the median, add
// up the better half, go on with the half that holds the answer. That is linear in the vocabulary, and the same answer
// as a sort's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/cpu/log.h"
#include "kernels/cpu/philox.h"
#include "kernels/cpu/sample_scratch.h"
#include "kernels/cpu/verbs.h"
#include "kernels/cpu/vocab_passes.h"
#include "kernels/id_bits.h"

namespace latentd::cpu {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr int kMaxVocab = 1 << 21;  // beyond, sums of weights would round

// Penalties and biases saturate: whatever a request asks for, finite logits stay finite, and what is not finite is the
// model's doing. Nothing changes where nothing overflows.
template <class Number>
float Saturated(Number logit) {
  constexpr Number kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(logit, -kLargest, kLargest));
}

size_t Index(int32_t id, size_t vocab) {
  CHECK_LT(static_cast<uint32_t>(id), vocab);
  return static_cast<uint32_t>(id);
}

// Leaves the marks zero, as it found them.
void ApplyPenalties(const SampleRow& row, std::span<float> logits, std::span<uint32_t> marks) {
  constexpr uint32_t kSeen = uint32_t{1} << 31;  // the lower bits count how often the id was generated
  for (size_t i = 0; i < row.tokens.size(); ++i) {
    uint32_t& mark = marks[Index(row.tokens[i], logits.size())];
    mark |= kSeen;
    if (i >= static_cast<size_t>(row.num_prompt_tokens)) ++mark;
  }
  for (const int32_t id : row.further) {
    uint32_t& mark = marks[Index(id, logits.size())];
    mark = (mark | kSeen) + 1;
  }
  const auto apply = [&](int32_t id) {
    uint32_t& mark = marks[static_cast<size_t>(id)];
    if (mark == 0) return;
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit > 0.0f ? logit / row.rule.repetition_penalty : logit * row.rule.repetition_penalty;
    const uint32_t generated = mark & ~kSeen;
    if (generated > 0) {
      logit -= row.rule.frequency_penalty * static_cast<float>(generated);
      logit -= row.rule.presence_penalty;
    }
    logit = Saturated(logit);
    mark = 0;
  };
  std::ranges::for_each(row.tokens, apply);
  std::ranges::for_each(row.further, apply);
}

void MaskAllBut(std::span<const uint64_t> allowed, std::span<float> logits) {
  CHECK_GE(allowed.size() * kIdsPerWord, logits.size());
  for (size_t first = 0; first < logits.size(); first += kIdsPerWord) {
    const uint64_t word = allowed[first / kIdsPerWord];
    if (word == ~uint64_t{0}) continue;
    const std::span<float> covered = logits.subspan(first, std::min(kIdsPerWord, logits.size() - first));
    for (size_t bit = 0; bit < covered.size(); ++bit) {
      if ((word >> bit & 1) == 0) covered[bit] = kMasked;
    }
  }
}

void ApplyMasks(const SampleRow& row, std::span<float> logits) {
  if (!row.allowed.empty()) MaskAllBut(row.allowed, logits);
  for (size_t id = 0; id < row.has_token.size(); ++id) {
    if (row.has_token[id] == 0) logits[Index(static_cast<int32_t>(id), logits.size())] = kMasked;
  }
  for (const int32_t id : row.banned_ids) logits[Index(id, logits.size())] = kMasked;
}

// The logits that the row's token is chosen by.
std::span<const float> AdjustedLogits(const SampleRow& row, std::span<const float> raw,
                                      SampleScratch::PerThread& scratch) {
  const std::span<float> logits = std::span(scratch.logits).first(raw.size());
  std::copy(raw.begin(), raw.end(), logits.begin());
  if (row.rule.HasPenalties()) ApplyPenalties(row, logits, scratch.marks);
  for (const TokenBias& bias : row.logit_bias) {
    float& logit = logits[Index(bias.id, logits.size())];
    logit = Saturated(logit + bias.bias);
  }
  ApplyMasks(row, logits);
  return logits;
}

bool Before(const TokenCandidate& a, const TokenCandidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

double SumOfWeights(std::span<const TokenCandidate> candidates) {
  double sum = 0.0;
  for (const TokenCandidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

// Length of the shortest prefix, in order, whose weights reach `target`; the whole where none does. Afterwards these
// candidates stand in front. The first `apart` candidates are known to stand before the others (0 where nothing is).
size_t PrefixReaching(std::span<TokenCandidate> candidates, size_t apart, double target) {
  size_t length = 1;
  double passed = 0.0;
  for (size_t split = apart; candidates.size() > 1; split = 0) {
    if (split == 0 || split >= candidates.size()) {
      split = candidates.size() / 2;
      std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(split), candidates.end(),
                       Before);
    }
    const double better = SumOfWeights(candidates.first(split));
    if (passed + better >= target) {
      candidates = candidates.first(split);
    } else {
      passed += better;
      length += split;
      candidates = candidates.subspan(split);
    }
  }
  return length;
}

// The candidates that may still be drawn: all in front of those cut off.
struct Kept {
  std::span<TokenCandidate> candidates;
  size_t apart = 0;  // so many in front are better than the rest

  void Cut(size_t count) {
    candidates = candidates.first(count);
    if (apart >= count) apart = 0;
  }
};

Kept AllCandidates(std::span<const float> logits, float largest, float temperature, SampleScratch::PerThread& scratch) {
  const std::span<float> weights = std::span(scratch.weights).first(logits.size());
  ExpWeights(logits, largest, temperature, weights);
  std::vector<TokenCandidate>& candidates = scratch.candidates;
  candidates.clear();
  const auto add = [&](size_t id) {
    const double weight = static_cast<double>(static_cast<int64_t>(weights[id] * 0x1p32 + 0.5)) * 0x1p-32;
    candidates.push_back({logits[id], static_cast<int32_t>(id), weight});
  };
  // Nearly all of the weight is near the top, so the search seldom goes past the part that stands apart there.
  const float near = std::max(largest - 8.0f * temperature, std::numeric_limits<float>::lowest());
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] >= near) add(id);
  }
  const size_t apart = candidates.size();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] < near && logits[id] != kMasked) add(id);
  }
  return {candidates, apart};
}

void KeepTopK(Kept& kept, int top_k) {
  const auto count = static_cast<size_t>(top_k);
  if (top_k <= 0 || count >= kept.candidates.size()) return;
  const auto range = count < kept.apart ? kept.candidates.first(kept.apart) : kept.candidates;
  std::nth_element(range.begin(), range.begin() + top_k, range.end(), Before);
  kept.Cut(count);
  kept.apart = 0;
}

void KeepTopP(Kept& kept, float top_p) {
  if (top_p >= 1.0f) return;
  const double target = top_p * SumOfWeights(kept.candidates);
  kept.Cut(PrefixReaching(kept.candidates, kept.apart, target));
}

// Compares logarithms: they fall with the logits without fail, rounded weights might not.
void KeepMinP(Kept& kept, float largest, const SampleRow& row) {
  if (row.rule.min_p <= 0.0f) return;
  const double least = Log(row.rule.min_p);
  const auto end = std::partition(kept.candidates.begin(), kept.candidates.end(), [&](const TokenCandidate& c) {
    return (c.logit - largest) / row.rule.temperature >= least;
  });
  kept.Cut(static_cast<size_t>(end - kept.candidates.begin()));
  kept.apart = 0;
}

void Draw(const SampleRow& row, std::span<const float> logits, float largest, SampleScratch::PerThread& scratch,
          SampleResult& result) {
  Kept kept = AllCandidates(logits, largest, row.rule.temperature, scratch);
  KeepTopK(kept, row.rule.top_k);
  KeepTopP(kept, row.rule.top_p);
  KeepMinP(kept, largest, row);
  const double total = SumOfWeights(kept.candidates);
  const double passed = UniformDraw(row.rule.seed, row.index, row.position) * total;
  const double beyond = std::nextafter(passed, std::numeric_limits<double>::infinity());
  const TokenCandidate& drawn = kept.candidates[PrefixReaching(kept.candidates, kept.apart, beyond) - 1];
  result.id = drawn.id;
  result.sampled_logprob = Saturated((double{drawn.logit} - largest) / row.rule.temperature - Log(total));
}

// Fills result.id and result.sampled_logprob; false where masks or overflow left nothing to choose.
bool Choose(const SampleRow& row, std::span<const float> raw, SampleScratch::PerThread& scratch, SampleResult& result) {
  const std::span<const float> logits = AdjustedLogits(row, raw, scratch);
  const float largest = Largest(logits);
  if (!std::isfinite(largest)) return false;
  if (row.rule.temperature > 0.0f) {
    Draw(row, logits, largest, scratch, result);
  } else {
    result.id = static_cast<int32_t>(std::find(logits.begin(), logits.end(), largest) - logits.begin());
  }
  return true;
}

// The best ids by raw logit, descending, ties to the lower id.
void TopLogprobs(std::span<const float> logits, double log_sum, size_t count, std::vector<TokenLogprob>& top) {
  if (count == 0) return;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (top.size() == count) {
      if (!(logits[id] > top.back().logprob)) continue;
      top.pop_back();
    }
    const auto worse = [](float logit, const TokenLogprob& entry) { return logit > entry.logprob; };
    const auto at = std::upper_bound(top.begin(), top.end(), logits[id], worse);
    top.insert(at, {static_cast<int32_t>(id), logits[id]});
  }
  for (TokenLogprob& entry : top) entry.logprob = Saturated(entry.logprob - log_sum);
}

void SampleOne(const SampleRow& row, std::span<const float> logits, SampleScratch::PerThread& scratch,
               SampleResult& result) {
  result.id = -1;
  result.logprob = result.sampled_logprob = 0.0f;
  result.top.clear();
  result.finite = AllFinite(logits);
  if (!result.finite) return;
  if (row.scored_id >= 0) {
    result.id = row.scored_id;
  } else {
    result.finite = Choose(row, logits, scratch, result);
    if (!result.finite) return;
  }
  if (row.num_top_logprobs < 0 && row.scored_id < 0) return;
  const float largest = Largest(logits);
  const double log_sum = largest + Log(SumOfExp(logits, largest));
  result.logprob = Saturated(logits[Index(result.id, logits.size())] - log_sum);
  TopLogprobs(logits, log_sum, static_cast<size_t>(std::max(0, row.num_top_logprobs)), result.top);
}

}  // namespace

void Sample(ThreadPool& pool, SampleScratch& scratch, Tensor logits, std::span<const SampleRow> rows,
            std::span<SampleResult> results) {
  CHECK_LE(logits.width, kMaxVocab);
  pool.ForEach(static_cast<int>(rows.size()), [&](int row, int thread) {
    const auto index = static_cast<size_t>(row);
    SampleOne(rows[index], {logits.Row(row), static_cast<size_t>(logits.width)}, scratch.ForThread(thread),
              results[index]);
  });
}

}  // namespace latentd::cpu
