#include "server/call/live_requests.h"

#include <random>
#include <utility>

#include <absl/strings/str_format.h>

namespace latentd {
namespace {

std::string RandomPrefix() {
  std::random_device device;
  return absl::StrFormat("%08x%08x", device(), device());
}

}  // namespace

LiveRequests::LiveRequests(EngineThread& engine, size_t max_pending_bytes, size_t max_backlog_bytes)
    : engine_(engine),
      max_pending_bytes_(max_pending_bytes),
      max_backlog_bytes_(max_backlog_bytes),
      prefix_(RandomPrefix()) {}

std::string LiveRequests::MakeName(RequestId id) const { return absl::StrFormat("%s-%d", prefix_, id); }

bool LiveRequests::Claim(LiveRequest request) {
  std::string name = request.request_id;
  std::lock_guard lock(mutex_);
  return live_.try_emplace(std::move(name), std::move(request)).second;
}

void LiveRequests::Release(const std::string& request_id) {
  std::lock_guard lock(mutex_);
  live_.erase(request_id);
}

bool LiveRequests::Abort(const std::string& request_id, FinishReason reason) {
  std::lock_guard lock(mutex_);
  const auto found = live_.find(request_id);
  if (found == live_.end() || found->second.stream->has_end()) return false;
  engine_.Cancel(found->second.id, reason);
  return true;
}

std::vector<LiveRequest> LiveRequests::List() const {
  std::vector<LiveRequest> all;
  std::lock_guard lock(mutex_);
  all.reserve(live_.size());
  for (const auto& [name, request] : live_) all.push_back(request);
  return all;
}

size_t LiveRequests::size() const {
  std::lock_guard lock(mutex_);
  return live_.size();
}

}  // namespace latentd
