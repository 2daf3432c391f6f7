#include "engine/step/calibration.h"

#include <algorithm>
#include <chrono>

#include "engine/schedule/block_id.h"
#include "kernels/batch.h"

namespace latentd {
namespace {

constexpr int kFirstTokens = 16;
// A step that takes so long tells the rate, and one of those the cost of keys beside it.
constexpr std::chrono::milliseconds kLongEnough{6}, kLongEnoughForKeys{2};

// Less deep than this the clock's noise is more than what attention costs.
constexpr int kLeastDepth = 1024, kMostDepth = 2048;

// A stretch of one prompt, with ids spread over the vocabulary so that the routers choose among all experts. Its blocks
// are those after the scratch block, but the ones that it writes to come first: what lies before it is read and never
// written, so a deep one brings no more of the cache into memory.
BatchInputs PromptOf(int first_position, int num_tokens, int vocab_size) {
  BatchInputs batch;
  const int end = first_position + num_tokens, num_blocks = BlocksFor(end);
  const int blocks_before = first_position / kBlockSlots;
  for (int block = 0; block < num_blocks; ++block) {
    batch.blocks.push_back(1 + (block + num_blocks - blocks_before) % num_blocks);
  }
  for (int position = first_position; position < end; ++position) {
    const int block = batch.blocks[static_cast<size_t>(position / kBlockSlots)];
    batch.token_ids.push_back(static_cast<int32_t>(int64_t{position} * 7919 % vocab_size));
    batch.positions.push_back(position);
    batch.slots.push_back(block * kBlockSlots + position % kBlockSlots);
  }
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
    executor.Launch(batch, {}, {});
    executor.Collect();
    return Seconds(std::max<Duration>(clock.Now() - begin, std::chrono::microseconds(1)));
  };
  time_step(0, 1);  // touches memory for the first time
  MeasuredRate rate;
  int num_tokens = std::min(kFirstTokens, most);
  int deep_tokens = 0;  // of the first step that is long enough to be compared with
  double shallow = 0.0;
  while (true) {
    const double taken = time_step(0, num_tokens);
    rate.tokens_per_second = std::max(rate.tokens_per_second, num_tokens / taken);
    const bool is_last = taken >= Seconds(kLongEnough) || num_tokens == most;
    if (deep_tokens == 0 && (is_last || taken >= Seconds(kLongEnoughForKeys))) {
      deep_tokens = num_tokens;
      shallow = taken;
    }
    if (is_last) break;
    num_tokens = std::min(2 * num_tokens, most);
  }
  const int depth = std::min({limits.max_context, room, kMostDepth}) - deep_tokens;
  if (depth >= kLeastDepth) {
    rate.work_per_key = WorkPerKey(time_step(depth, deep_tokens) / shallow, deep_tokens, depth);
  }
  return rate;
}

}  // namespace latentd
