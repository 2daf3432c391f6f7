#include "server/reception.h"

#include <algorithm>

#include "kernels/cpu/available_memory.h"
#include "kernels/cpu/processors.h"
#include "server/connection_table.h"
#include "server/grpc_server.h"

namespace latentd {
namespace {

constexpr size_t kMemoryShare = 8;
constexpr size_t kLeastBytes = size_t{16} << 20;
constexpr size_t kMostBytes = size_t{1} << 30;
constexpr size_t kUnreadBytes = 64 << 10;            // of one RPC that waits to be received
static_assert(kLeastBytes >= 4 * kMaxMessageBytes);  // a peer may have half of it, for at least two messages

IntakeOptions IntakeOf(const Config& config) {
  return {.max_bytes = BufferBytes(config, cpu::AvailableMemory()),
          .message_bytes = kMaxMessageBytes,
          .patience = FromSeconds(config.slow_consumer_seconds)};
}

}  // namespace

size_t BufferBytes(const Config& config, size_t available_memory) {
  if (config.max_buffered_bytes > 0) return static_cast<size_t>(config.max_buffered_bytes);
  return std::clamp(available_memory / kMemoryShare, kLeastBytes, kMostBytes);
}

Reception::Reception(const Config& config, Metrics& metrics)
    : metrics_(metrics),
      intake_(IntakeOf(config), &metrics.request_bytes()),
      answers_(intake_.max_bytes(), &metrics.answer_bytes()),
      pool_({.num_threads = WorkThreads(cpu::FindComputeThreads().count)}) {
  const auto max_bytes = static_cast<int64_t>(intake_.max_bytes());
  ConnectionTable::OfProcess().SetUploadLimit(intake_.max_bytes() + kUnreadBytes * IntakeOptions{}.max_waiting);
  metrics.Update([max_bytes](MetricsData& data) { data.max_buffered_bytes = max_bytes; });
}

}  // namespace latentd
