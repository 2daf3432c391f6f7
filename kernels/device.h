// Where a backend keeps its memory and runs its launches. Allocation happens at start only: the cache, the weights and
// the activations.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include <absl/status/statusor.h>

namespace latentd {

class Device;

// Memory of a device, returned to it on destruction. Movable, not copyable; must not outlive the device.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Device* device, void* address, size_t bytes) : device_(device), address_(address), bytes_(bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceBuffer();

  template <class T>
  T* As() const {
    return static_cast<T*>(address_);
  }
  size_t bytes() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  void* address_ = nullptr;
  size_t bytes_ = 0;
};

// The numbers that the launches of a step of equal rows depend on, beside addresses that never change.
struct StepShape {
  int num_rows = 0;
  int tokens_per_row = 1;
  int max_context = 0;
  int program = 0;  // which of the caller's sequences of launches
  auto operator<=>(const StepShape&) const = default;
};

class Device {
 public:
  virtual ~Device() = default;

  // For logs and reports: what it is, in one line.
  virtual std::string Describe() const = 0;

  // Zeroed memory, aligned to at least 64 bytes. RESOURCE_EXHAUSTED with the sizes where there is not enough.
  virtual absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) = 0;
  // Both return when the bytes have been copied, after everything that was launched before.
  virtual void Upload(const void* host, size_t bytes, void* device) = 0;
  virtual void Download(const void* device, size_t bytes, void* host) = 0;
  // Bytes that Allocate could still hand out, as far as the device can tell.
  virtual size_t AvailableBytes() const = 0;
  // As many rows as decode steps of num_rows rows should be filled up to, so that few shapes occur.
  virtual int PadRows(int num_rows) const = 0;
  // Launches what body launches. A device may record that once for each shape and replay it without calling body, so
  // what body launches must be a function of the shape.
  virtual void Run(const StepShape& shape, const std::function<void()>& body) = 0;
  // Returns when everything that was launched has finished.
  virtual void Synchronize() = 0;

 private:
  friend class DeviceBuffer;
  virtual void Free(void* address, size_t bytes) = 0;
};

inline DeviceBuffer::~DeviceBuffer() {
  if (device_ != nullptr) device_->Free(address_, bytes_);
}

}  // namespace latentd
