#include "server/net/upload_ledger.h"

#include <algorithm>

namespace latentd {

void UploadLedger::SetLimit(size_t num_bytes) {
  std::lock_guard lock(mutex_);
  limit_ = num_bytes;
}

std::unique_ptr<UploadLedger::Connection> UploadLedger::Connect(const std::string& peer, int descriptor) {
  auto part = std::make_shared<Part>();
  std::lock_guard lock(mutex_);
  if (!peer.empty()) {
    std::erase_if(peers_, [](const auto& known) { return known.second.expired(); });
    std::weak_ptr<Part>& known = peers_[peer];
    if (const std::shared_ptr<Part> before = known.lock()) {
      part = before;
    } else {
      known = part;
    }
  }
  auto connection = std::make_unique<Connection>(std::move(part), descriptor);
  open_.insert(connection.get());
  return connection;
}

std::optional<int> UploadLedger::Hold(Connection& connection, size_t num_bytes) {
  std::lock_guard lock(mutex_);
  if (!open_.contains(&connection)) return std::nullopt;
  Set(connection, num_bytes);
  if (num_bytes_ <= limit_) return std::nullopt;
  const auto holds_less = [](const Connection* a, const Connection* b) {
    return std::pair(a->peer_->num_bytes, a->num_bytes_) < std::pair(b->peer_->num_bytes, b->num_bytes_);
  };
  Connection& victim = **std::max_element(open_.begin(), open_.end(), holds_less);
  CloseLocked(victim);
  return victim.descriptor_;
}

void UploadLedger::Close(Connection& connection) {
  std::lock_guard lock(mutex_);
  CloseLocked(connection);
}

void UploadLedger::CloseLocked(Connection& connection) {
  Set(connection, 0);
  open_.erase(&connection);
}

size_t UploadLedger::num_bytes() const {
  std::lock_guard lock(mutex_);
  return num_bytes_;
}

void UploadLedger::Set(Connection& connection, size_t num_bytes) {
  const size_t change = num_bytes - connection.num_bytes_;  // perhaps below 0, modulo 2^64
  connection.num_bytes_ += change;
  connection.peer_->num_bytes += change;
  num_bytes_ += change;
}

}  // namespace latentd
