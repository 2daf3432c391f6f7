// The backend that the op tests run on, and rows in its memory. One body per op serves every backend: the environment
// variable LATENTD_TEST_BACKEND (cpu, cuda or cuda:N) chooses.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "tests/reference/codes.h"

namespace latentd {

// Promises of the chosen backend beside the numerics contract.
struct BackendTraits {
  std::string name;
  // Largest error relative to the double reference, as norms of whole rows.
  double elementwise_error = 1e-6;
  double linear_error = 1e-6;
  double attention_error = 2e-6;
  // Largest absolute difference of a bundled model's logit from the recorded one.
  double logit_error = 1e-4;
};
const BackendTraits& TestTraits();

// A new backend of the chosen kind; for a model, which reserves by itself.
Backend MakeUnreservedTestBackend();
// The same, with room for the step.
Backend MakeTestBackend(const StepLimits& limits);
bool ComputesWith(const Backend& backend, ActivationFormat activations);
// Limits that suit tests of verbs without scratch memory.
StepLimits SmallLimits(ActivationFormat activations = ActivationFormat::kF32);
// What products with a weight read of inputs under these activations, with codes under kE4M3 (docs/spec/numerics.md).
reference::InputForm InputFormOf(const MatrixSource& weight, ActivationFormat activations);

// Rows in a device's memory. The gaps between them must not be read (they hold NaN) or written.
class DeviceRows {
 public:
  DeviceRows(Backend& backend, int rows, int width);
  DeviceRows(Backend& backend, const std::vector<std::vector<float>>& rows);

  const Tensor& tensor() const { return tensor_; }
  // Rows [first, first + count) as a tensor of their own.
  Tensor Part(int first, int count) const;
  void Set(const std::vector<std::vector<float>>& rows);
  std::vector<std::vector<float>> Get() const;
  bool GapsUntouched() const;

 private:
  std::vector<float> Everything() const;

  Device& device_;
  DeviceBuffer memory_;
  Tensor tensor_;
};

// Any values in a device's memory.
template <class T>
class DeviceValues {
 public:
  DeviceValues(Backend& backend, std::span<const T> values)
      : device_(*backend.device), memory_(*device_.Allocate(values.size_bytes())), count_(values.size()) {
    Set(values);
  }
  T* get() const { return memory_.template As<T>(); }
  void Set(std::span<const T> values) { device_.Upload(values.data(), values.size_bytes(), get()); }
  std::vector<T> Get() const {
    std::vector<T> values(count_);
    device_.Download(get(), count_ * sizeof(T), values.data());
    return values;
  }

 private:
  Device& device_;
  DeviceBuffer memory_;
  size_t count_;
};

// An activation with room for codes.
class DeviceActivation {
 public:
  DeviceActivation(Backend& backend, int rows, int width, ScaleFormat scale_format = ScaleFormat::kF32);

  const Activation& activation() const { return activation_; }
  // Rows [first, first + count) as an activation of their own.
  Activation Part(int first, int count) const;
  DeviceRows& values() { return values_; }
  std::vector<uint8_t> codes() const { return codes_.Get(); }
  std::vector<float> scales() const { return scales_.Get(); }

 private:
  DeviceRows values_;
  DeviceValues<uint8_t> codes_;
  DeviceValues<float> scales_;
  Activation activation_;
};

std::vector<std::vector<float>> RandomRows(int rows, int width, std::mt19937& random);

}  // namespace latentd
