#include "server/grpc/reception.h"

#include <algorithm>

#include "base/available_memory.h"
#include "base/processors.h"
#include "server/grpc/grpc_server.h"
#include "server/net/connection_table.h"

namespace latentd {
namespace {

constexpr size_t kMemoryShare = 8;
constexpr size_t kLeastBytes = size_t{16} << 20;
constexpr size_t kMostBytes = size_t{1} << 30;
constexpr size_t kUnreadBytes = 64 << 10;            // of one RPC that waits to be received
static_assert(kLeastBytes >= 4 * kMaxMessageBytes);  // a peer may have half of it, for at least two messages

// The part of both budgets for small messages: those that are whole before they are read, and answers of that size.
constexpr size_t kReservedShare = 8;
constexpr size_t kSmallBytes = 64 << 10;
constexpr size_t kAdminsBytes = kLeastBytes;

IntakeOptions IntakeOf(const Config& config, size_t max_bytes) {
  return {.max_bytes = max_bytes,
          .message_bytes = kMaxMessageBytes,
          .patience = FromSeconds(config.slow_consumer_seconds),
          .unread_bytes = kSmallBytes,
          .reserved_bytes = max_bytes / kReservedShare,
          .look = [](const Peer& peer) { return ConnectionTable::OfProcess().SendingOf(peer.connection); }};
}

ByteBudgetOptions AnswersOf(size_t max_bytes) {
  return {.max_bytes = max_bytes,
          .small_bytes = kSmallBytes,
          .reserved_bytes = std::min(max_bytes / kReservedShare, max_bytes - 2 * size_t{kMaxMessageBytes})};
}

}  // namespace

size_t BufferBytes(const Config& config, size_t available_memory) {
  if (config.max_buffered_bytes > 0) return static_cast<size_t>(config.max_buffered_bytes);
  return std::clamp(available_memory / kMemoryShare, kLeastBytes, kMostBytes);
}

Reception::Reception(const Config& config, Metrics& metrics, Authority* authority, SpanQueue* spans)
    : metrics_(metrics),
      authority_(authority),
      spans_(spans),
      intake_(IntakeOf(config, BufferBytes(config, cpu::AvailableMemory())), &metrics.request_bytes()),
      answers_(AnswersOf(intake_.max_bytes()), &metrics.answer_bytes()),
      admins_intake_(IntakeOf(config, kAdminsBytes)),
      admins_answers_(AnswersOf(kAdminsBytes)),
      pool_({.num_threads = WorkThreads(cpu::FindComputeThreads().count)}) {
  const auto max_bytes = static_cast<int64_t>(intake_.max_bytes());
  ConnectionTable::OfProcess().SetUploadLimit(intake_.max_bytes() + kUnreadBytes * IntakeOptions{}.max_waiting);
  metrics.Update([max_bytes](MetricsData& data) { data.max_buffered_bytes = max_bytes; });
}

}  // namespace latentd
