#include "server/upload_ledger.h"

namespace latentd {

void UploadLedger::SetLimit(size_t num_bytes) {
  std::lock_guard lock(mutex_);
  limit_ = num_bytes;
}

std::unique_ptr<UploadLedger::Connection> UploadLedger::Connect(const std::string& peer) {
  auto part = std::make_shared<Part>();
  if (!peer.empty()) {
    std::lock_guard lock(mutex_);
    std::erase_if(peers_, [](const auto& known) { return known.second.expired(); });
    std::weak_ptr<Part>& known = peers_[peer];
    if (const std::shared_ptr<Part> before = known.lock()) {
      part = before;
    } else {
      known = part;
    }
  }
  return std::make_unique<Connection>(std::move(part));
}

bool UploadLedger::Hold(Connection& connection, size_t num_bytes) {
  std::lock_guard lock(mutex_);
  if (connection.is_closed_) return true;
  const bool grows = num_bytes > connection.num_bytes_;
  Set(connection, num_bytes);
  if (!grows || all_.num_bytes <= limit_) return true;
  const Part& peer = *connection.peer_;
  return peer.num_bytes < all_.average() || num_bytes < peer.average();
}

void UploadLedger::Close(Connection& connection) {
  std::lock_guard lock(mutex_);
  Set(connection, 0);
  connection.is_closed_ = true;
}

size_t UploadLedger::num_bytes() const {
  std::lock_guard lock(mutex_);
  return all_.num_bytes;
}

void UploadLedger::Set(Connection& connection, size_t num_bytes) {
  Part& peer = *connection.peer_;
  all_.num_holders -= peer.num_bytes > 0 ? 1 : 0;
  peer.num_holders -= connection.num_bytes_ > 0 ? 1 : 0;
  for (Part* part : {&peer, &all_}) part->num_bytes += num_bytes - connection.num_bytes_;
  connection.num_bytes_ = num_bytes;
  peer.num_holders += num_bytes > 0 ? 1 : 0;
  all_.num_holders += peer.num_bytes > 0 ? 1 : 0;
}

}  // namespace latentd
