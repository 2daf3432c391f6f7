// A device that passes everything on to another, for those that watch some of it. The other must outlive it.
#pragma once

#include <functional>
#include <string>

#include <absl/status/statusor.h>

#include "base/check.h"
#include "kernels/device.h"

namespace latentd {

class ForwardingDevice : public Device {
 public:
  explicit ForwardingDevice(Device& to) : to_(to) {}

  std::string Describe() const override { return to_.Describe(); }
  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override { return to_.Allocate(bytes); }
  void Upload(const void* host, size_t bytes, void* device) override { to_.Upload(host, bytes, device); }
  void Download(const void* device, size_t bytes, void* host) override { to_.Download(device, bytes, host); }
  size_t AvailableBytes() const override { return to_.AvailableBytes(); }
  int PadRows(int num_rows) const override { return to_.PadRows(num_rows); }
  void Run(const StepShape& shape, const std::function<void()>& body) override { to_.Run(shape, body); }
  void Synchronize() override { to_.Synchronize(); }

 private:
  void Free(void*, size_t) override { CHECK(false && "buffers return to the device that made them"); }

  Device& to_;
};

}  // namespace latentd
