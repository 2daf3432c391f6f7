#include "engine/step/calibration.h"

#include <algorithm>
#include <chrono>

#include "engine/schedule/block_id.h"
#include "kernels/batch.h"

namespace latentd {
namespace {

constexpr int kFirstTokens = 16;
constexpr std::chrono::milliseconds kLongEnough{10};

// Less deep than this the clock's noise is more than what attention costs.
constexpr int kLeastDepth = 1024, kMostDepth = 8192;

// A stretch of one prompt, with ids spread over the vocabulary so that the routers choose among all experts.
BatchInputs PromptOf(int first_position, int num_tokens, int vocab_size) {
  BatchInputs batch;
  const int end = first_position + num_tokens;
  for (int position = first_position; position < end; ++position) {
    batch.token_ids.push_back(static_cast<int32_t>(int64_t{position} * 7919 % vocab_size));
    batch.positions.push_back(position);
    batch.slots.push_back(kBlockSlots + position);  // in the blocks after the scratch block
  }
  for (int block = 1; block <= BlocksFor(end); ++block) batch.blocks.push_back(block);
  batch.token_rows.assign(static_cast<size_t>(num_tokens), 0);
  batch.rows.push_back(
      {.first_token = 0, .num_tokens = num_tokens, .first_position = first_position, .first_block = 0});
  return batch;
}

// From how many times as long `num_tokens` take at `depth` as at the beginning of a context.
double WorkPerKey(double times, int num_tokens, int depth) {
  const double own_keys = 0.5 * (num_tokens - 1);  // on average, of the stretch itself
  const double more_keys = depth + own_keys - times * own_keys;
  return times > 1.0 && more_keys > 0.0 ? (times - 1.0) / more_keys : 0.0;
}

}  // namespace

MeasuredRate MeasureRate(StepExecutor& executor, const CalibrationLimits& limits, const Clock& clock) {
  const int room = (limits.num_blocks - 1) * kBlockSlots;
  const int most = std::min(limits.max_tokens, room);
  const auto time_step = [&](int first_position, int num_tokens) {
    const BatchInputs batch = PromptOf(first_position, num_tokens, limits.vocab_size);
    const TimePoint begin = clock.Now();
    executor.Launch(batch, {});
    executor.Collect();
    return Seconds(std::max<Duration>(clock.Now() - begin, std::chrono::microseconds(1)));
  };
  const int first = std::min(kFirstTokens, most);
  time_step(0, first);  // touches memory for the first time
  MeasuredRate rate;
  int num_tokens = first;
  double taken = 0.0;
  while (true) {
    taken = time_step(0, num_tokens);
    rate.tokens_per_second = std::max(rate.tokens_per_second, num_tokens / taken);
    if (taken >= Seconds(kLongEnough) || num_tokens == most) break;
    num_tokens = std::min(2 * num_tokens, most);
  }
  const int depth = std::min({limits.max_context, room, kMostDepth}) - num_tokens;
  if (depth >= kLeastDepth) rate.work_per_key = WorkPerKey(time_step(depth, num_tokens) / taken, num_tokens, depth);
  return rate;
}

}  // namespace latentd
