#include "tests/kernels/ops/op_backend.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/check.h"
#include "kernels/rounding.h"
#include "tests/kernels/stored_matrix.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

float Untouched() { return std::numeric_limits<float>::quiet_NaN(); }

std::string ChosenBackend() {
  const char* chosen = std::getenv("LATENTD_TEST_BACKEND");
  return chosen == nullptr ? "cpu" : chosen;
}

BackendTraits TraitsOf(const std::string& name) {
  if (name == "cpu") return {.name = name};
  // Tensor cores multiply halves: activations in two of them, latents and queries in bf16.
  return {.name = name, .elementwise_error = 2e-6, .linear_error = 3e-5, .attention_error = 3e-3, .logit_error = 6e-2};
}

}  // namespace

const BackendTraits& TestTraits() {
  static const BackendTraits traits = TraitsOf(ChosenBackend());
  return traits;
}

Backend MakeUnreservedTestBackend() {
  const std::string& name = TestTraits().name;
  return OrDie(name == "cpu" ? MakeCpuBackend(2) : MakeCudaBackend(CudaDeviceIndex(name).value()));
}

Backend MakeTestBackend(const StepLimits& limits) {
  Backend backend = MakeUnreservedTestBackend();
  const absl::Status reserved = backend.ops->Reserve(limits);
  if (!reserved.ok()) OrDie(absl::StatusOr<int>(reserved));
  return backend;
}

bool ComputesWith(const Backend& backend, ActivationFormat activations) {
  const std::span<const ActivationFormat> formats = backend.ops->activation_formats();
  return std::find(formats.begin(), formats.end(), activations) != formats.end();
}

StepLimits SmallLimits(ActivationFormat activations) {
  return {.max_tokens = 64,
          .max_rows = 64,
          .max_logit_rows = 64,
          .max_context = 1024,
          .hidden_size = 1024,
          .max_linear_inputs = 1024,
          .vocab_size = 4096,
          .attention = {.num_heads = 4, .nope_width = 32, .rope_width = 16, .value_width = 32, .latent_width = 64},
          .experts_per_token = 2,
          .expert_width = 128,
          .shared_expert_width = 128,
          .activations = activations};
}

reference::InputForm InputFormOf(const MatrixSource& weight, ActivationFormat activations) {
  if (weight.keeps_inputs || weight.dtype == DType::kF32) return reference::InputForm::kAsTheyAre;
  if (activations == ActivationFormat::kBf16) return reference::InputForm::kBf16;
  const bool reads_codes = activations == ActivationFormat::kE4M3 && weight.dtype == DType::kE4M3;
  return reads_codes ? reference::InputForm::kCodes : reference::InputForm::kAsTheyAre;
}

DeviceRows::DeviceRows(Backend& backend, int rows, int width) : device_(*backend.device) {
  const int stride = RowStride(width);
  const std::vector<float> untouched(static_cast<size_t>(rows) * static_cast<size_t>(stride), Untouched());
  const size_t bytes = untouched.size() * sizeof(float);
  memory_ = OrDie(device_.Allocate(std::max<size_t>(bytes, 1)));
  device_.Upload(untouched.data(), bytes, memory_.As<float>());
  tensor_ = {memory_.As<float>(), rows, width, stride};
}

DeviceRows::DeviceRows(Backend& backend, const std::vector<std::vector<float>>& rows)
    : DeviceRows(backend, static_cast<int>(rows.size()), rows.empty() ? 0 : static_cast<int>(rows[0].size())) {
  Set(rows);
}

Tensor DeviceRows::Part(int first, int count) const {
  CHECK_LE(first + count, tensor_.rows);
  return {tensor_.Row(first), count, tensor_.width, tensor_.stride};
}

void DeviceRows::Set(const std::vector<std::vector<float>>& rows) {
  CHECK_EQ(static_cast<int>(rows.size()), tensor_.rows);
  for (int r = 0; r < tensor_.rows; ++r) {
    const std::vector<float>& row = rows[static_cast<size_t>(r)];
    CHECK_EQ(static_cast<int>(row.size()), tensor_.width);
    device_.Upload(row.data(), row.size() * sizeof(float), tensor_.Row(r));
  }
}

std::vector<float> DeviceRows::Everything() const {
  std::vector<float> all(static_cast<size_t>(tensor_.rows) * static_cast<size_t>(tensor_.stride));
  device_.Download(tensor_.values, all.size() * sizeof(float), all.data());
  return all;
}

std::vector<std::vector<float>> DeviceRows::Get() const {
  const std::vector<float> all = Everything();
  std::vector<std::vector<float>> rows;
  for (int r = 0; r < tensor_.rows; ++r) {
    const auto begin = all.begin() + r * tensor_.stride;
    rows.emplace_back(begin, begin + tensor_.width);
  }
  return rows;
}

bool DeviceRows::GapsUntouched() const {
  const std::vector<float> all = Everything();
  for (int r = 0; r < tensor_.rows; ++r) {
    const auto begin = all.begin() + r * tensor_.stride;
    if (!std::all_of(begin + tensor_.width, begin + tensor_.stride, [](float x) { return std::isnan(x); }))
      return false;
  }
  return true;
}

DeviceActivation::DeviceActivation(Backend& backend, int rows, int width, ScaleFormat scale_format)
    : values_(backend, rows, width),
      codes_(backend,
             std::vector<uint8_t>(
                 static_cast<size_t>(rows) * static_cast<size_t>(Activation(values_.tensor()).code_stride()), 0xFF)),
      scales_(backend, std::vector<float>(
                           static_cast<size_t>(rows) * static_cast<size_t>(Activation(values_.tensor()).num_groups()),
                           Untouched())),
      activation_(values_.tensor()) {
  activation_.codes = codes_.get();
  activation_.scales = scales_.get();
  activation_.scale_format = scale_format;
}

Activation DeviceActivation::Part(int first, int count) const {
  Activation part = activation_;
  part.values = values_.Part(first, count);
  part.codes += first * activation_.code_stride();
  part.scales += first * activation_.num_groups();
  return part;
}

std::vector<std::vector<float>> RandomRows(int rows, int width, std::mt19937& random) {
  std::vector<std::vector<float>> all;
  for (int r = 0; r < rows; ++r) all.push_back(RandomValues(static_cast<size_t>(width), random));
  return all;
}

}  // namespace latentd
