#include "server/net/stream_debts.h"

#include <iterator>

namespace latentd {

std::unique_ptr<StreamDebts::Connection> StreamDebts::Connect(const std::string& peer, TimePoint now) {
  auto account = std::make_shared<Allowance>(kPerPeer, kForgivenPerPeerSecond, now);
  if (!peer.empty()) {
    std::lock_guard lock(mutex_);
    ForgetSome(now);
    account = peers_.try_emplace(peer, std::move(account)).first->second;
  }
  return std::make_unique<Connection>(std::move(account), now);
}

bool StreamDebts::Add(Connection& connection, const Streams& streams, TimePoint now) {
  std::lock_guard lock(mutex_);
  Allowance& own = connection.account_;
  Allowance& of_peer = *connection.peer_;
  for (Allowance* account : {&own, &of_peer, &in_all_}) {
    account->Refill(now);
    account->Add(streams.answered);
    account->Take(streams.opened);
  }
  if (streams.opened == 0.0) return true;
  const bool makes_room = of_peer.is_overdrawn() || (in_all_.is_overdrawn() && of_peer.taken() > kModestPeer);
  return !own.is_overdrawn() && !(makes_room && own.taken() > kModestConnection);
}

// Each call makes one entry at most and looks at many, so those that are over don't pile up.
void StreamDebts::ForgetSome(TimePoint now) {
  auto at = peers_.upper_bound(looked_at_);
  for (size_t i = 0; i < kMaxForgotten && at != peers_.end(); ++i) {
    at->second->Refill(now);
    looked_at_ = at->first;
    const bool is_over = at->second.use_count() == 1 && at->second->taken() == 0.0;
    at = is_over ? peers_.erase(at) : std::next(at);
  }
  if (at == peers_.end()) looked_at_.clear();
}

}  // namespace latentd
