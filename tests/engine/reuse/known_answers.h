// Drafts that are right as often as a test wants, whatever the model is good for: where what a sequence gets is known
// beforehand, some of its drafts become that.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "engine/step/draft_row.h"
#include "kernels/batch.h"

namespace latentd {

class KnownAnswers {
 public:
  // Prompt and answer of the sequence that draws with this seed and index.
  void Add(uint64_t seed, int32_t index, std::vector<int32_t> tokens);
  // So many of the drafts become what comes, the others stay what they are.
  void SetAccuracy(double share) { accuracy_ = share; }

  // Drafts of a sequence that is sampled like `sample`, the first one for `position`.
  void Correct(const SampleRow& sample, int position, Drafts& drafts) const;

 private:
  double accuracy_ = 0.0;
  std::map<std::pair<uint64_t, uint32_t>, std::vector<int32_t>> tokens_;  // by seed and index
};

}  // namespace latentd
