#include "server/net/stream_debts.h"

#include <iterator>

namespace latentd {

std::unique_ptr<StreamDebts::Connection> StreamDebts::Connect(const std::string& peer, TimePoint now) {
  auto account = std::make_shared<Account>(kPerPeer, kForgivenPerPeerSecond, now);
  if (!peer.empty()) {
    std::lock_guard lock(mutex_);
    ForgetSome(now);
    account = peers_.try_emplace(peer, std::move(account)).first->second;
  }
  return std::make_unique<Connection>(std::move(account), now);
}

bool StreamDebts::Add(Connection& connection, const Streams& streams, TimePoint now) {
  std::lock_guard lock(mutex_);
  Account& own = connection.account_;
  Account& of_peer = *connection.peer_;
  for (Account* account : {&own, &of_peer, &in_all_}) {
    account->Refill(now);
    account->Add(streams);
  }
  if (streams.opened == 0.0) return true;
  const bool makes_room = of_peer.is_overdrawn() || (in_all_.is_overdrawn() && of_peer.owed() > kModestPeer);
  return !own.is_overdrawn() && !(makes_room && own.owed() > kModestConnection);
}

void StreamDebts::Account::Refill(TimePoint now) {
  if (now <= refilled_) return;
  streams_.Refill(Seconds(now - refilled_));
  refilled_ = now;
}

void StreamDebts::Account::Add(const Streams& streams) {
  streams_.Add(streams.answered);
  streams_.Take(streams.opened);
}

// Each call makes one entry at most and looks at many, so those that are over don't pile up.
void StreamDebts::ForgetSome(TimePoint now) {
  auto at = peers_.upper_bound(looked_at_);
  for (size_t i = 0; i < kMaxForgotten && at != peers_.end(); ++i) {
    at->second->Refill(now);
    looked_at_ = at->first;
    const bool is_over = at->second.use_count() == 1 && at->second->owed() == 0.0;
    at = is_over ? peers_.erase(at) : std::next(at);
  }
  if (at == peers_.end()) looked_at_.clear();
}

}  // namespace latentd
