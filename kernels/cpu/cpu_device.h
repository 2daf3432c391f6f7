// Main memory as a device, on huge pages where the system has them: a weight is read as one stream, and a layer of
// experts is hundreds of buffers of 1 to 3 MiB. Engine thread only.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/device.h"

namespace latentd::cpu {

// Mappings that buffers share, side by side: small ones lie on huge pages, too. What was given back is not given
// out again: a chunk goes when all of its buffers have.
class BufferChunks {
 public:
  static constexpr size_t kLargestBuffer = size_t{16} << 20;

  BufferChunks() = default;
  BufferChunks(const BufferChunks&) = delete;
  BufferChunks& operator=(const BufferChunks&) = delete;
  ~BufferChunks();

  // Zeroed; null where the system has not so many addresses left.
  std::byte* Take(size_t num_bytes);
  // False where it is none of these.
  bool GiveBack(const std::byte* buffer);

 private:
  struct Chunk {
    std::byte* begin;
    size_t bytes;
    size_t used;
    int buffers;
  };
  std::vector<Chunk> chunks_;  // the last one is being filled
};

class CpuDevice final : public Device {
 public:
  CpuDevice();
  explicit CpuDevice(size_t available_bytes);  // as if the machine had no more, for tests

  std::string Describe() const override;
  absl::StatusOr<DeviceBuffer> Allocate(size_t bytes) override;
  void Upload(const void* host, size_t bytes, void* device) override;
  void Download(const void* device, size_t bytes, void* host) override;
  size_t AvailableBytes() const override;
  int PadRows(int num_rows) const override { return num_rows; }
  void Run(const StepShape&, const std::function<void()>& body) override { body(); }
  void Synchronize() override {}

 private:
  void Free(void* address, size_t bytes) override;
  void* TakeFromSystem(size_t bytes);

  // Memory that was allocated but not yet touched still looks available to the kernel, so we count ourselves too.
  const size_t available_at_start_;
  size_t allocated_ = 0;
  BufferChunks chunks_;
};

}  // namespace latentd::cpu
