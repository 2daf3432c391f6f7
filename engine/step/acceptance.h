// Which drafts hold: each verified row draws its own token from its own distribution with its own key, and a draft is
// right if it is that token. So what a sequence gets is what it gets without drafts (docs/spec/deepseek.md 3.7).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/batch.h"

namespace latentd {

// How many of the drafts, from the first, equal what was drawn at their places: drawn[i] at that of drafts[i], one more
// behind the last. A row whose logits are not finite accepts nothing.
inline int NumAccepted(std::span<const int32_t> drafts, std::span<const SampleResult> drawn) {
  size_t accepted = 0;
  while (accepted < drafts.size() && drawn[accepted].finite && drawn[accepted].id == drafts[accepted]) ++accepted;
  return static_cast<int>(accepted);
}

}  // namespace latentd
