// The prompts of one world, drawn so that they share what real ones share: system prompts, the turns of conversations,
// whole prompts sent again, and a first few tokens that happen to be equal.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/request.h"
#include "tests/simulation/random.h"

namespace latentd::simulation {

class Prompts {
 public:
  Prompts(int max_context_tokens, Random& random);

  // At least one token; now and then more than the context holds.
  std::vector<int32_t> Draw();
  // It was drawn: later ones may go on from it, or from a part of its answer. `request` has its seed and its rules.
  void Remember(const Request& request);

 private:
  int DrawLength();
  void AddFresh(int num_tokens, std::vector<int32_t>& prompt);
  const Request& Earlier();
  std::vector<int32_t> DrawSharing();
  std::vector<int32_t> DrawNextTurn();

  const int max_context_tokens_;
  Random& random_;
  const int one_in_fresh_;   // how often a prompt shares nothing on purpose
  const int most_openings_;  // system prompts: the first so many prompts are gone back to most often
  std::vector<Request> earlier_;
};

}  // namespace latentd::simulation
