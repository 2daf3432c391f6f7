#include "server/process/descriptors.h"

#include <algorithm>

#include <absl/strings/str_format.h>
#include <sys/resource.h>

namespace latentd {
namespace {

// gRPC keeps about 30 KiB of an idle connection.
constexpr int64_t kDefaultConnections = 2'048;
// For the model's files, logs, metrics and the Admin service; where the limit is low, half of it.
constexpr int64_t kKeptDescriptors = 192;
constexpr int64_t kAdminConnections = 32;

// Descriptors of the daemon before its first client (listeners, gRPC's, files of the model), and of some clients.
constexpr int64_t kLeastDescriptors = 64;
static_assert(kAdminConnections < kKeptDescriptors && kLeastDescriptors < kKeptDescriptors);

int64_t KeptDescriptors(int64_t max_descriptors) { return std::min(kKeptDescriptors, max_descriptors / 2); }

}  // namespace

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

absl::Status CheckDescriptors() {
  if (const int64_t most = MaxDescriptors(); most < kLeastDescriptors) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "expected a limit of at least %d descriptors, found %d; raise ulimit -n", kLeastDescriptors, most));
  }
  return absl::OkStatus();
}

int64_t MaxDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kKeptDescriptors;
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
}

ConnectionLimits LimitsOfApi(const Config& config, int64_t max_descriptors) {
  const int64_t most = std::max<int64_t>(1, max_descriptors - KeptDescriptors(max_descriptors));
  const int64_t wanted = config.max_connections > 0 ? config.max_connections : kDefaultConnections;
  const int64_t connections = std::min(wanted, most);
  const int64_t per_peer = config.max_connections_per_peer > 0 ? config.max_connections_per_peer : connections * 3 / 4;
  return {.connections = connections, .per_peer = std::clamp<int64_t>(per_peer, 1, connections)};
}

std::vector<std::string> ConnectionWarnings(const Config& config, int64_t max_descriptors) {
  const ConnectionLimits limits = LimitsOfApi(config, max_descriptors);
  std::vector<std::string> warnings;
  if (config.max_connections > limits.connections) {
    warnings.push_back(
        absl::StrFormat("max-connections: %d are more than the limit of %d descriptors allows, %d are taken; "
                        "raise ulimit -n",
                        config.max_connections, max_descriptors, limits.connections));
  }
  if (config.max_connections_per_peer > limits.per_peer) {
    warnings.push_back(absl::StrFormat("max-connections-per-peer: %d are more than the %d connections in all",
                                       config.max_connections_per_peer, limits.connections));
  }
  return warnings;
}

ConnectionLimits LimitsOfAdmin(int64_t max_descriptors) {
  const int64_t connections = std::clamp<int64_t>(KeptDescriptors(max_descriptors) / 4, 1, kAdminConnections);
  return {.connections = connections, .per_peer = connections};
}

}  // namespace latentd
