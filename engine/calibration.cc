#include "engine/calibration.h"

#include <algorithm>
#include <chrono>

#include "engine/schedule/block_pool.h"
#include "kernels/batch.h"

namespace latentd {
namespace {

constexpr int kFirstTokens = 16;
constexpr std::chrono::milliseconds kLongEnough{10};

// One prompt, with ids spread over the vocabulary so that the routers choose among all experts.
BatchInputs PromptOf(int num_tokens, int vocab_size) {
  BatchInputs batch;
  for (int position = 0; position < num_tokens; ++position) {
    batch.token_ids.push_back(static_cast<int32_t>(int64_t{position} * 7919 % vocab_size));
    batch.positions.push_back(position);
    batch.slots.push_back(kBlockTokens + position);  // in the blocks after the scratch block
  }
  for (int block = 1; block <= BlocksFor(num_tokens); ++block) batch.blocks.push_back(block);
  batch.token_rows.assign(static_cast<size_t>(num_tokens), 0);
  batch.rows.push_back({.first_token = 0, .num_tokens = num_tokens, .first_position = 0, .first_block = 0});
  return batch;
}

}  // namespace

double MeasureTokensPerSecond(StepExecutor& executor, const CalibrationLimits& limits, const Clock& clock) {
  const int most = std::min(limits.max_tokens, (limits.num_blocks - 1) * kBlockTokens);
  const auto time_step = [&](int num_tokens) {
    const BatchInputs batch = PromptOf(num_tokens, limits.vocab_size);
    const TimePoint begin = clock.Now();
    executor.Launch(batch, {});
    executor.Collect();
    return std::max<Duration>(clock.Now() - begin, std::chrono::microseconds(1));
  };
  const int first = std::min(kFirstTokens, most);
  time_step(first);  // touches memory for the first time
  double rate = 0.0;
  for (int num_tokens = first;; num_tokens = std::min(2 * num_tokens, most)) {
    const Duration taken = time_step(num_tokens);
    rate = std::max(rate, num_tokens / Seconds(taken));
    if (taken >= kLongEnough || num_tokens == most) return rate;
  }
}

}  // namespace latentd
