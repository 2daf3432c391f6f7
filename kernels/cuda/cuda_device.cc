#include "kernels/cuda/cuda_device.h"

#include <iostream>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/check.h"
#include "kernels/cuda/launch.h"

namespace latentd::cuda {
namespace {

constexpr int kHopper = 9;  // major compute capability

absl::Status CheckHopper(int index) {
  int major = 0, minor = 0;
  CheckCuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "cudaDeviceGetAttribute");
  CheckCuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "cudaDeviceGetAttribute");
  if (major == kHopper) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("cuda:%d has compute capability %d.%d, expected 9.0 (Hopper): choose another device or cpu",
                      index, major, minor));
}

}  // namespace

void CheckCuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  std::cerr << "latentd: " << call << ": " << cudaGetErrorName(error) << ": " << cudaGetErrorString(error) << '\n';
  std::abort();
}

void CheckLaunch(const char* kernel) { CheckCuda(cudaGetLastError(), kernel); }

absl::StatusOr<std::unique_ptr<CudaDevice>> CudaDevice::Open(int index) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    return absl::UnavailableError(
        absl::StrFormat("cuda:%d: %s; install the NVIDIA driver or choose cpu", index, cudaGetErrorString(error)));
  }
  if (index >= count) {
    return absl::UnavailableError(
        absl::StrFormat("cuda:%d: this machine has %d CUDA devices; choose one of them or cpu", index, count));
  }
  if (absl::Status hopper = CheckHopper(index); !hopper.ok()) return hopper;
  cudaStream_t stream = nullptr;
  cudaError_t error = cudaSetDevice(index);
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    return absl::UnavailableError(absl::StrFormat("cuda:%d: %s", index, cudaGetErrorString(error)));
  }
  return std::unique_ptr<CudaDevice>(new CudaDevice(index, stream));
}

CudaDevice::~CudaDevice() {
  Synchronize();
  for (const auto& [shape, recording] : recordings_) CheckCuda(cudaGraphExecDestroy(recording), "cudaGraphExecDestroy");
  CheckCuda(cudaStreamDestroy(stream_), "cudaStreamDestroy");
}

std::string CudaDevice::Describe() const {
  cudaDeviceProp properties;
  CheckCuda(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties");
  int driver = 0, runtime = 0;
  CheckCuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  CheckCuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return absl::StrFormat("%s, compute capability %d.%d, %d SMs, %.1f GiB, driver %d.%d, runtime %d.%d", properties.name,
                         properties.major, properties.minor, properties.multiProcessorCount,
                         static_cast<double>(properties.totalGlobalMem) / 0x1p30, driver / 1000, driver % 1000 / 10,
                         runtime / 1000, runtime % 1000 / 10);
}

absl::StatusOr<DeviceBuffer> CudaDevice::Allocate(size_t bytes) {
  if (bytes == 0) return DeviceBuffer();
  void* address = nullptr;
  if (const cudaError_t error = cudaMalloc(&address, bytes); error != cudaSuccess) {
    cudaGetLastError();  // the failed call must not be taken for a launch's
    return absl::ResourceExhaustedError(
        absl::StrFormat("%.1f MiB of GPU memory asked for, %.1f MiB available (%s); free GPU memory or configure a "
                        "smaller model, cache or step",
                        static_cast<double>(bytes) / 0x1p20, static_cast<double>(AvailableBytes()) / 0x1p20,
                        cudaGetErrorString(error)));
  }
  CheckCuda(cudaMemsetAsync(address, 0, bytes, stream_), "cudaMemsetAsync");
  return DeviceBuffer(this, address, bytes);
}

void CudaDevice::Free(void* address, size_t) {
  Synchronize();
  CheckCuda(cudaFree(address), "cudaFree");
}

void CudaDevice::Upload(const void* host, size_t bytes, void* device) {
  CheckCuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  Synchronize();
}

void CudaDevice::Download(const void* device, size_t bytes, void* host) {
  CheckCuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
  Synchronize();
}

size_t CudaDevice::AvailableBytes() const {
  size_t free_bytes = 0, total_bytes = 0;
  CheckCuda(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  return free_bytes;
}

int CudaDevice::PadRows(int num_rows) const {
  if (num_rows > 4) return (num_rows + 7) / 8 * 8;
  return num_rows == 3 ? 4 : num_rows;
}

void CudaDevice::Run(const StepShape& shape, const std::function<void()>& body) {
  const auto [place, is_new] = recordings_.try_emplace(shape);
  if (is_new) place->second = Record(body);
  CheckCuda(cudaGraphLaunch(place->second, stream_), "cudaGraphLaunch");
}

cudaGraphExec_t CudaDevice::Record(const std::function<void()>& body) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recording = nullptr;
  CheckCuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  body();
  CheckCuda(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
  CheckCuda(cudaGraphInstantiate(&recording, graph, 0), "cudaGraphInstantiate");
  CheckCuda(cudaGraphDestroy(graph), "cudaGraphDestroy");
  return recording;
}

void CudaDevice::Synchronize() { CheckCuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

absl::StatusOr<PinnedBuffer> PinnedBuffer::Allocate(size_t bytes) {
  PinnedBuffer buffer;
  if (const cudaError_t error = cudaMallocHost(&buffer.address_, bytes); error != cudaSuccess) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%.1f MiB of pinned memory asked for: %s; configure smaller steps",
                        static_cast<double>(bytes) / 0x1p20, cudaGetErrorString(error)));
  }
  return buffer;
}

PinnedBuffer::~PinnedBuffer() {
  if (address_ != nullptr) CheckCuda(cudaFreeHost(address_), "cudaFreeHost");
}

}  // namespace latentd::cuda
