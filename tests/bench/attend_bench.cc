#include "tests/bench/attend_bench.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <random>

#include <absl/strings/str_format.h>

#include "tests/bench/verb_timer.h"

namespace latentd {
namespace {

constexpr float kEpsilon = 1e-6f;
constexpr int kDecodeRows[] = {1, 8, 32};

int BlocksOf(int tokens) { return (tokens + kBlockSlots - 1) / kBlockSlots; }

// Rows whose last tokens, num_tokens of each, are computed at the end of `context` positions. Blocks from first_block
// on.
BatchInputs StepOf(int num_rows, int num_tokens, int context, int first_block) {
  BatchInputs step;
  for (int row = 0; row < num_rows; ++row) {
    step.rows.push_back({.first_token = step.num_tokens(),
                         .num_tokens = num_tokens,
                         .first_position = context - num_tokens,
                         .first_block = static_cast<int>(step.blocks.size())});
    const int first_of_row = first_block + row * BlocksOf(context);
    for (int block = 0; block < BlocksOf(context); ++block) step.blocks.push_back(first_of_row + block);
    for (int position = context - num_tokens; position < context; ++position) {
      step.token_ids.push_back(0);
      step.positions.push_back(position);
      step.slots.push_back(first_of_row * kBlockSlots + position);
      step.token_rows.push_back(row);
    }
  }
  return step;
}

// The verb's operands: a cache of stored latents, W_UK and W_UV, queries.
class AttendCase {
 public:
  AttendCase(const KernelBench& options, const StepLimits& limits, VerbTimer& timer)
      : shape_(options.shape.attention), most_tokens_(limits.max_tokens), ops_(timer.ops()) {
    pages_ = {.format = limits.latents, .latent_width = shape_.latent_width, .rope_width = shape_.rope_width};
    const int largest = 32 * BlocksOf(limits.max_context);
    const auto cold = static_cast<int>(options.cold_bytes / pages_.block_bytes() / 2);
    pages_.num_blocks = std::max(largest, cold);
    memory_ = OrDie(timer.device().Allocate(static_cast<size_t>(pages_.num_blocks) * pages_.block_bytes()));
    pages_.bytes = memory_.As<std::byte>();
    FillAngles(limits.max_context);
    FillValues(q_, shape_.num_heads * shape_.query_width());
    FillValues(out_, shape_.num_heads * shape_.value_width);
    PackKeyValueUp();
    FillCache();
  }

  int num_blocks() const { return pages_.num_blocks; }
  void Run(const BatchInputs& step) {
    const int rows = step.num_tokens();
    ops_.AttendLatent(View(q_, rows), *key_value_up_, shape_, 0.1f, ViewOf(step), pages_, View(out_, rows));
  }

 private:
  Tensor View(std::vector<float>& values, int rows) const {
    const int stride = static_cast<int>(values.size()) / most_tokens_;
    return {values.data(), rows, stride - 16, stride};
  }
  void FillValues(std::vector<float>& values, int width) {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    values.resize(static_cast<size_t>(most_tokens_) * static_cast<size_t>(width + 16));
    for (float& value : values) value = normal(random_);
  }
  void FillAngles(int positions) {
    const int half = shape_.rope_width / 2;
    for (int position = 0; position < positions; ++position) {
      for (int i = 0; i < 2 * half; ++i) {
        const double angle = position * std::pow(1e4, -static_cast<double>(i % half) / half);
        angles_.push_back(static_cast<float>(i < half ? std::cos(angle) : std::sin(angle)));
      }
    }
    rope_.angles = {angles_.data(), positions, shape_.rope_width, shape_.rope_width};
  }
  void PackKeyValueUp() {
    const int outputs = shape_.num_heads * (shape_.nope_width + shape_.value_width);
    std::vector<uint16_t> codes(static_cast<size_t>(outputs) * static_cast<size_t>(shape_.latent_width));
    std::normal_distribution<float> normal(0.0f, 0.02f);
    for (uint16_t& code : codes) code = static_cast<uint16_t>(std::bit_cast<uint32_t>(normal(random_)) >> 16);
    key_value_up_ = OrDie(ops_.PackKeyValueUp({.dtype = DType::kBf16,
                                               .outputs = outputs,
                                               .inputs = shape_.latent_width,
                                               .bytes = reinterpret_cast<const std::byte*>(codes.data())},
                                              shape_));
  }
  void FillCache() {
    std::vector<float> kv;
    FillValues(kv, shape_.latent_width + shape_.rope_width);
    const std::vector<float> weight(static_cast<size_t>(shape_.latent_width), 1.0f);
    const int blocks = most_tokens_ / kBlockSlots;
    for (int first = 0; first + blocks <= pages_.num_blocks; first += blocks) {
      const BatchInputs step = StepOf(1, blocks * kBlockSlots, blocks * kBlockSlots, first);
      ops_.AppendLatent(View(kv, step.num_tokens()), weight.data(), kEpsilon, ViewOf(step), rope_, pages_);
    }
  }

  const AttentionShape shape_;
  const int most_tokens_;
  Ops& ops_;
  std::mt19937 random_{4};
  LatentPages pages_;
  DeviceBuffer memory_;
  std::vector<float> angles_, q_, out_;
  RopeTable rope_;
  std::unique_ptr<const Matrix> key_value_up_;
};

// Steps on different parts of the cache, as many as it holds and a few at most.
std::vector<BatchInputs> StepsOver(const AttendCase& attend, int num_rows, int num_tokens, int context) {
  const int blocks = num_rows * BlocksOf(context);
  const int num_steps = std::clamp(attend.num_blocks() / blocks, 1, 64);
  std::vector<BatchInputs> steps;
  for (int i = 0; i < num_steps; ++i) steps.push_back(StepOf(num_rows, num_tokens, context, i * blocks));
  return steps;
}

void BenchFormat(const KernelBench& options, const StepLimits& limits, Report& report) {
  VerbTimer timer(options, limits, report);
  const std::string name = absl::StrFormat("AttendLatent %s cache, %s inputs", std::string(NameOf(limits.latents)),
                                           std::string(NameOf(limits.activations)));
  if (!timer.Wants(name)) return;
  AttendCase attend(options, limits, timer);
  const auto measure = [&](const std::string& what, const std::vector<BatchInputs>& steps) {
    timer.Measure(name + what, "AttendLatent",
                  [&](int call) { attend.Run(steps[static_cast<size_t>(call) % steps.size()]); });
  };
  for (const int context : options.contexts) {
    for (const int rows : kDecodeRows) {
      if (rows > limits.max_tokens) continue;
      measure(absl::StrFormat(", context %d, rows %d", context, rows), StepsOver(attend, rows, 1, context));
    }
  }
  const int context = std::min(2048, limits.max_context - kBlockSlots);
  const int tokens = std::min(limits.max_tokens, context);
  measure(absl::StrFormat(", context %d, %d tokens of a prompt", context, tokens),
          StepsOver(attend, 1, tokens, context));
}

}  // namespace

void BenchAttend(const KernelBench& options, StepLimits limits, Report& report) {
  const Backend backend = OrDie(MakeCpuBackend(1));
  for (const LatentFormat format : backend.ops->latent_formats(limits.activations)) {
    limits.latents = format;
    BenchFormat(options, limits, report);
  }
}

}  // namespace latentd
