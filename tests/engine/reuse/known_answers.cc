#include "tests/engine/reuse/known_answers.h"

#include <random>
#include <utility>

namespace latentd {

void KnownAnswers::Add(uint64_t seed, int32_t index, std::vector<int32_t> tokens) {
  tokens_.insert_or_assign({seed, static_cast<uint32_t>(index)}, std::move(tokens));
}

void KnownAnswers::Correct(const SampleRow& sample, int position, Drafts& drafts) const {
  const auto known = tokens_.find({sample.rule.seed, sample.index});
  if (known == tokens_.end()) return;
  for (int i = 0; i < drafts.count; ++i) {
    const auto at = static_cast<size_t>(position + i);
    if (at >= known->second.size()) return;
    // The same positions in each run.
    std::minstd_rand random(static_cast<unsigned>(sample.rule.seed * 1009 + sample.index * 101 + at));
    random.discard(2);
    if (std::generate_canonical<double, 30>(random) < accuracy_) drafts.ids[static_cast<size_t>(i)] = known->second[at];
  }
}

}  // namespace latentd
