#include "tests/simulation/prompts.h"

#include <algorithm>

#include "engine/schedule/block_id.h"
#include "tests/simulation/fake_model.h"

namespace latentd::simulation {

Prompts::Prompts(int max_context_tokens, Random& random)
    : max_context_tokens_(max_context_tokens),
      random_(random),
      one_in_fresh_(random.OneIn(3) ? 1 : random.Between(2, 12)),
      most_openings_(random.Between(1, 5)) {}

int Prompts::DrawLength() {
  const int most = random_.OneIn(30) ? max_context_tokens_ + 4 : max_context_tokens_ / (random_.OneIn(3) ? 1 : 6);
  return random_.Between(1, std::max(1, most));
}

void Prompts::AddFresh(int num_tokens, std::vector<int32_t>& prompt) {
  for (int left = num_tokens; left > 0; --left) {
    prompt.push_back(kAlphabet[static_cast<size_t>(random_.Below(kAlphabet.size()))]);
  }
}

const Request& Prompts::Earlier() {
  const auto count = static_cast<int>(earlier_.size());
  if (random_.OneIn(2)) return earlier_[static_cast<size_t>(random_.Below(std::min(count, most_openings_)))];
  if (random_.OneIn(2)) return earlier_[static_cast<size_t>(count - 1 - random_.Below(std::min(count, 4)))];
  return earlier_[static_cast<size_t>(random_.Below(count))];
}

// So many tokens of an earlier one, often near the end of a block.
std::vector<int32_t> Prompts::DrawSharing() {
  const std::vector<int32_t>& whole = Earlier().prompt;
  const auto size = static_cast<int>(whole.size());
  int shared = random_.Between(1, size);
  if (random_.OneIn(2)) shared = shared / kBlockSlots * kBlockSlots + random_.Between(-1, 1);
  if (random_.OneIn(4)) shared = size;
  std::vector<int32_t> prompt(whole.begin(), whole.begin() + std::clamp(shared, 1, size));
  const int room = max_context_tokens_ - static_cast<int>(prompt.size());
  if (!random_.OneIn(4)) AddFresh(std::min(std::max(0, room), DrawLength() / 2), prompt);
  return prompt;
}

// Prompt, answer - all of it, or as much as the client kept - and what its reader says to that.
std::vector<int32_t> Prompts::DrawNextTurn() {
  const Request& before = Earlier();
  if (before.kind != RequestKind::kGenerate || before.stopping.max_tokens < 1) return DrawSharing();
  std::vector<int32_t> answer = RunQuietly(before, 0, max_context_tokens_).generated;
  if (random_.OneIn(3)) answer.resize(static_cast<size_t>(random_.Below(static_cast<int>(answer.size()) + 1)));
  std::vector<int32_t> prompt = before.prompt;
  prompt.insert(prompt.end(), answer.begin(), answer.end());
  const int room = max_context_tokens_ - static_cast<int>(prompt.size());
  if (room < 2) return DrawSharing();
  AddFresh(random_.Between(1, std::min(room - 1, 40)), prompt);
  return prompt;
}

std::vector<int32_t> Prompts::Draw() {
  if (earlier_.empty() || random_.OneIn(one_in_fresh_)) {
    std::vector<int32_t> prompt;
    AddFresh(DrawLength(), prompt);
    return prompt;
  }
  return random_.OneIn(3) ? DrawNextTurn() : DrawSharing();
}

void Prompts::Remember(const Request& request) {
  if (static_cast<int>(request.prompt.size()) < max_context_tokens_) earlier_.push_back(request);
}

}  // namespace latentd::simulation
