#include "tests/bench/kernel_bench.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include <absl/strings/str_format.h>

#include "kernels/fp8.h"
#include "kernels/rounding.h"
#include "tests/bench/attend_bench.h"
#include "tests/bench/verb_timer.h"

namespace latentd {
namespace {

constexpr int kRoutings = 8;
constexpr float kEpsilon = 1e-6f;

const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kE4M3:
      return "fp8";
    case DType::kInt4:
      return "int4";
    case DType::kBf16:
      return "bf16";
    default:
      return "fp32";
  }
}

// A weight as a checkpoint stores it: normal values, in FP8 up to about ±448; INT4 codes are uniform.
class StoredWeight {
 public:
  StoredWeight(DType dtype, int outputs, int inputs, std::mt19937& random)
      : dtype_(dtype), outputs_(outputs), inputs_(inputs) {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    bytes_.resize(static_cast<size_t>(outputs) * RowBytes(dtype, inputs));
    if (dtype == DType::kInt4) {
      for (std::byte& pair : bytes_) pair = static_cast<std::byte>(random() & 0xFF);
      const auto groups = static_cast<size_t>((inputs + kInt4Group - 1) / kInt4Group);
      group_scales_.assign(static_cast<size_t>(outputs) * groups, EncodeBf16(4e-3f));
      return;
    }
    for (size_t i = 0; i < bytes_.size() / SizeOf(dtype); ++i) Store(i, normal(random));
    if (dtype == DType::kE4M3) scales_.assign(static_cast<size_t>(Blocks(outputs) * Blocks(inputs)), 1e-3f);
  }

  MatrixSource Source() const {
    return {.dtype = dtype_,
            .outputs = outputs_,
            .inputs = inputs_,
            .bytes = bytes_.data(),
            .scales = scales_,
            .group_scales = reinterpret_cast<const std::byte*>(group_scales_.data())};
  }
  size_t num_bytes() const { return bytes_.size() + group_scales_.size() * sizeof(uint16_t); }

 private:
  static int Blocks(int width) { return (width + kCodeGroup - 1) / kCodeGroup; }
  void Store(size_t index, float value) {
    std::byte* at = bytes_.data() + index * SizeOf(dtype_);
    if (dtype_ == DType::kE4M3) {
      *at = static_cast<std::byte>(EncodeE4M3(100.0f * value));
    } else if (dtype_ == DType::kBf16) {
      const uint16_t code = EncodeBf16(0.02f * value);
      std::memcpy(at, &code, sizeof code);
    } else {
      const float weight = 0.02f * value;
      std::memcpy(at, &weight, sizeof weight);
    }
  }

  DType dtype_;
  int outputs_, inputs_;
  std::vector<std::byte> bytes_;
  std::vector<float> scales_;
  std::vector<uint16_t> group_scales_;  // of INT4, in bf16
};

// Rows of normal values; their stride is no multiple of 4 KiB, as that of the engine's activations.
class Rows {
 public:
  Rows(int rows, int width, std::mt19937& random) : rows_(rows), width_(width) {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    values_.resize(static_cast<size_t>(rows) * static_cast<size_t>(stride()));
    for (float& value : values_) value = normal(random);
  }
  Tensor First(int rows) { return {values_.data(), std::min(rows, rows_), width_, stride()}; }

 private:
  int stride() const { return RowStride(width_); }
  int rows_, width_;
  std::vector<float> values_;
};

// The input of products: rows, and their codes where products read them.
class Inputs {
 public:
  Inputs(int rows, int width, ActivationFormat format, std::mt19937& random) : rows_(rows, width, random) {
    if (format != ActivationFormat::kE4M3) return;
    const Activation largest(rows_.First(rows));
    codes_.resize(static_cast<size_t>(rows) * static_cast<size_t>(largest.code_stride()));
    scales_.resize(static_cast<size_t>(rows) * static_cast<size_t>(largest.num_groups()));
  }
  // A norm fills the codes.
  void FillCodes(Ops& ops, int rows) {
    if (codes_.empty()) return;
    const Activation all = First(rows);
    const std::vector<float> weight(static_cast<size_t>(all.values.width), 1.0f);
    ops.RmsNorm(all.values, weight.data(), kEpsilon, all);
  }
  Activation First(int rows) {
    Activation first(rows_.First(rows));
    if (codes_.empty()) return first;
    first.codes = codes_.data();
    first.scales = scales_.data();
    return first;
  }

 private:
  Rows rows_;
  std::vector<uint8_t> codes_;
  std::vector<float> scales_;
};

int Most(const std::vector<int>& numbers) { return *std::max_element(numbers.begin(), numbers.end()); }

StepLimits LimitsOf(const KernelBench& options) {
  const BenchShape& shape = options.shape;
  const int rows = Most(options.rows);
  return {.max_tokens = rows,
          .max_rows = rows,
          .max_logit_rows = rows,
          .max_context = Most(options.contexts) + kBlockSlots,
          .hidden_size = shape.hidden_size,
          .max_linear_inputs = std::max(shape.hidden_size, shape.dense_width),
          .vocab_size = shape.vocab_size,
          .attention = shape.attention,
          .experts_per_token = shape.experts_per_token,
          .expert_width = shape.expert_width,
          .shared_expert_width = shape.shared_width(),
          .activations = options.activations};
}

void BenchLinear(const KernelBench& options, DType dtype, Report& report) {
  VerbTimer timer(options, LimitsOf(options), report);
  const int width = options.shape.hidden_size;
  const std::string name = absl::StrFormat("Linear %s %d x %d, %s inputs, rows ", NameOf(dtype), width, width,
                                           std::string(NameOf(options.activations)));
  if (!timer.Wants(name)) return;
  std::mt19937 random(1);
  const StoredWeight weight(dtype, width, width, random);
  std::vector<std::unique_ptr<const Matrix>> copies;
  while (copies.size() < std::max<size_t>(1, options.cold_bytes / weight.num_bytes())) {
    copies.push_back(OrDie(timer.ops().PackLinear(weight.Source())));
  }
  const int most_rows = Most(options.rows);
  Inputs x(most_rows, width, options.activations, random);
  Rows out(most_rows, width, random);
  x.FillCodes(timer.ops(), most_rows);
  for (const int rows : options.rows) {
    timer.Measure(absl::StrFormat("%s%d", name, rows), "Linear", [&](int call) {
      timer.ops().Linear(x.First(rows), *copies[static_cast<size_t>(call) % copies.size()], out.First(rows));
    });
  }
}

// The experts of `rows` tokens, each a choice of its own.
std::vector<int32_t> DrawExperts(const BenchShape& shape, int rows, std::mt19937& random) {
  std::vector<int32_t> all(static_cast<size_t>(shape.num_experts)), drawn;
  std::iota(all.begin(), all.end(), 0);
  for (int row = 0; row < rows; ++row) {
    std::shuffle(all.begin(), all.end(), random);
    drawn.insert(drawn.end(), all.begin(), all.begin() + shape.experts_per_token);
  }
  return drawn;
}

void BenchExperts(const KernelBench& options, DType dtype, Report& report) {
  const BenchShape& shape = options.shape;
  VerbTimer timer(options, LimitsOf(options), report);
  const std::string name = absl::StrFormat("MixExperts %s %d x %d, top %d + %d, %s inputs, rows ", NameOf(dtype),
                                           shape.num_experts, shape.expert_width, shape.experts_per_token,
                                           shape.num_shared_experts, std::string(NameOf(options.activations)));
  if (!timer.Wants(name)) return;
  std::mt19937 random(2);
  const StoredWeight up(dtype, shape.expert_width, shape.hidden_size, random);
  const StoredWeight down(dtype, shape.hidden_size, shape.expert_width, random);
  const StoredWeight shared_up(dtype, shape.shared_width(), shape.hidden_size, random);
  const StoredWeight shared_down(dtype, shape.hidden_size, shape.shared_width(), random);
  const std::vector<ExpertSource> routed(static_cast<size_t>(shape.num_experts),
                                         {.gate = up.Source(), .up = up.Source(), .down = down.Source()});
  const ExpertSource shared = {.gate = shared_up.Source(), .up = shared_up.Source(), .down = shared_down.Source()};
  const std::unique_ptr<const Experts> experts = OrDie(timer.ops().PackExperts(routed, &shared));
  const int most_rows = Most(options.rows);
  Inputs x(most_rows, shape.hidden_size, options.activations, random);
  Rows out(most_rows, shape.hidden_size, random);
  x.FillCodes(timer.ops(), most_rows);
  std::vector<float> weights(static_cast<size_t>(most_rows * shape.experts_per_token), 0.2f);
  for (const int rows : options.rows) {
    std::vector<std::vector<int32_t>> drawn;
    for (int i = 0; i < kRoutings; ++i) drawn.push_back(DrawExperts(shape, rows, random));
    timer.Measure(absl::StrFormat("%s%d", name, rows), "MixExperts", [&](int call) {
      const Routing routing = {.experts = drawn[static_cast<size_t>(call % kRoutings)].data(),
                               .weights = weights.data(),
                               .rows = rows,
                               .experts_per_token = shape.experts_per_token};
      timer.ops().MixExperts(x.First(rows), routing, *experts, out.First(rows));
    });
  }
}

// Norms, SwiGLU, routing and sampling: few bytes, which the caches hold.
void BenchRowVerbs(const KernelBench& options, int rows, Report& report) {
  const BenchShape& shape = options.shape;
  VerbTimer timer(options, LimitsOf(options), report);
  Ops& ops = timer.ops();
  std::mt19937 random(3);
  Rows x(rows, shape.hidden_size, random), delta(rows, shape.hidden_size, random), out(rows, shape.hidden_size, random);
  Rows gate(rows, shape.dense_width, random), up(rows, shape.dense_width, random);
  Rows scores(rows, shape.num_experts, random), logits(rows, shape.vocab_size, random);
  const std::vector<float> weight(static_cast<size_t>(shape.hidden_size), 1.0f);
  const std::vector<SampleRow> samples(static_cast<size_t>(rows),
                                       SampleRow{.rule = {.temperature = 0.6f, .top_p = 0.95f, .seed = 1}});
  std::vector<int32_t> experts(static_cast<size_t>(rows * shape.experts_per_token));
  std::vector<float> shares(experts.size());
  const RoutingRule rule = {.num_experts = shape.num_experts,
                            .experts_per_token = shape.experts_per_token,
                            .score = ExpertScore::kSoftmax,
                            .normalize = false};
  const Routing routing = {
      .experts = experts.data(), .weights = shares.data(), .rows = rows, .experts_per_token = shape.experts_per_token};
  const auto measure = [&](const char* verb, const auto& call) {
    timer.Measure(absl::StrFormat("%s, rows %d", verb, rows), verb, call);
  };
  measure("RmsNorm", [&](int) { ops.RmsNorm(x.First(rows), weight.data(), kEpsilon, out.First(rows)); });
  measure("AddRmsNorm",
          [&](int) { ops.AddRmsNorm(x.First(rows), delta.First(rows), weight.data(), kEpsilon, out.First(rows)); });
  measure("SwiGlu", [&](int) { ops.SwiGlu(gate.First(rows), up.First(rows), gate.First(rows)); });
  measure("RouteExperts", [&](int) { ops.RouteExperts(scores.First(rows), nullptr, rule, routing); });
  Batch batch;
  batch.samples = samples;
  measure("Sample", [&](int) { ops.Sample(batch, logits.First(rows)); });
}

}  // namespace

void RunKernelBench(const KernelBench& options, Report& report) {
  for (const DType dtype : {DType::kInt4, DType::kE4M3, DType::kBf16, DType::kF32}) BenchLinear(options, dtype, report);
  for (const DType dtype : {DType::kInt4, DType::kE4M3}) BenchExperts(options, dtype, report);
  BenchAttend(options, LimitsOf(options), report);
  for (const int rows : options.rows) BenchRowVerbs(options, rows, report);
}

}  // namespace latentd
