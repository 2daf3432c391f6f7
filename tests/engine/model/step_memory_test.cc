// The memory that a step is planned with is the memory that it takes.
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "engine/model/model.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/scratch_bytes.h"
#include "kernels/cpu/tiles.h"
#include "kernels/forwarding_device.h"
#include "tests/engine/model/config/published_configs.h"
#include "tests/kernels/emulated_product.h"
#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

constexpr int kThreads = 2;

// Main memory that adds up what is allocated.
class CountingDevice final : public ForwardingDevice {
 public:
  using ForwardingDevice::ForwardingDevice;

  size_t allocated() const { return allocated_; }

  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override {
    allocated_ += bytes;
    return ForwardingDevice::Allocate(bytes);
  }

 private:
  size_t allocated_ = 0;
};

ModelConfig ConfigOf(std::string_view json) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "config.json", std::string(json));
  return OrDie(LoadModelConfig(directory.path()));
}

void CheckPlan(const ModelConfig& config, MtpUse mtp, ActivationFormat activations, LatentFormat latents) {
  cpu::CpuDevice main_memory;
  CountingDevice device(main_memory);
  cpu::CpuOps ops(device, kThreads);
  const StepLimits limits = StepLimitsOf(config,
                                         {.max_tokens = 256,
                                          .max_rows = 8,
                                          .max_logit_rows = 8,
                                          .max_context = config.max_context,
                                          .latents = latents,
                                          .activations = activations,
                                          .loads_mtp = mtp},
                                         ops);
  const size_t planned = ActivationMemory::Bytes(config, mtp, limits) + cpu::ScratchBytes(limits, kThreads);
  ASSERT_TRUE(ops.Reserve(limits).ok());
  const ActivationMemory memory = OrDie(ActivationMemory::Allocate(device, config, mtp, limits));
  EXPECT_GE(planned, device.allocated());
  constexpr size_t kVectorBytes = size_t{8} << 20;  // of sampling, which lie not on the device
  EXPECT_LE(planned, device.allocated() + device.allocated() / 2 + kVectorBytes);
}

void CheckPlans(std::string_view json) {
  const ModelConfig config = ConfigOf(json);
  for (const MtpUse mtp : {MtpUse::kNone, MtpUse::kDraft}) {
    CheckPlan(config, mtp, ActivationFormat::kF32, LatentFormat::kF32);
    CheckPlan(config, mtp, ActivationFormat::kBf16, LatentFormat::kBf16);
    CheckPlan(config, mtp, ActivationFormat::kE4M3, LatentFormat::kFp8);
  }
}

TEST(StepMemory, IsPlannedAsItIsTaken) {
  CheckPlans(kV3Json);
  CheckPlans(kV2LiteJson);
}

TEST(StepMemory, IsPlannedAsItIsTakenOnATileUnit) {
  cpu::UseTilesForTest(EmulatedPanelProduct);
  CheckPlans(kV3Json);
  CheckPlans(kV2LiteJson);
  cpu::UseTilesForTest(std::nullopt);
}

}  // namespace
}  // namespace latentd
