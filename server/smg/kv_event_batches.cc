#include "server/smg/kv_event_batches.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace latentd {
namespace {

namespace common = smg::grpc::common;

constexpr std::chrono::seconds kBetweenLoads{1};
constexpr size_t kTakenAtOnce = 64;

// The protocol has 64 bits for a hash, which only names: the half of it that does is as good.
int64_t NameOf(const BlockHash& hash) { return static_cast<int64_t>(hash.low); }

}  // namespace

common::EngineLoad EngineLoadOf(const vllm::grpc::engine::SchedulerLoad& load) {
  common::EngineLoad record;
  record.set_running_requests(static_cast<uint32_t>(load.num_running_reqs()));
  record.set_waiting_requests(static_cast<uint32_t>(load.num_waiting_reqs()));
  record.set_waiting_uncached_tokens(static_cast<uint32_t>(load.num_waiting_uncached_tokens()));
  record.set_token_usage(load.token_usage());
  record.set_active_token_usage(load.token_usage());
  record.set_gen_throughput(load.gen_throughput());
  record.set_max_running_requests(static_cast<uint32_t>(load.max_running_requests()));
  record.set_cache_hit_rate(load.cache_hit_rate());
  record.set_num_used_tokens(load.num_used_tokens());
  record.set_max_total_num_tokens(load.max_total_num_tokens());
  return record;
}

common::KvCacheEvent CacheEventOf(const KvEvent& event) {
  common::KvCacheEvent told;
  told.set_event_id(event.number);
  switch (event.kind) {
    case KvEvent::Kind::kStored: {
      common::KvBlocksStored& stored = *told.mutable_stored();
      if (event.parent) stored.set_parent_block_hash(NameOf(*event.parent));
      // The gateway takes blocks without one for those that its requests find: they name neither salt nor tenant.
      const SaltParts salt = PartsOfSalt(event.salt);
      if (!salt.salt.empty() || !salt.tenant.empty()) stored.set_cache_salt(event.salt);
      common::KvBlock& block = *stored.add_blocks();
      block.set_block_hash(NameOf(event.hash));
      for (const int32_t id : event.token_ids) block.add_token_ids(static_cast<uint32_t>(id));
      block.set_block_size(kBlockSlots);
      break;
    }
    case KvEvent::Kind::kRemoved:
      told.mutable_removed()->add_block_hashes(NameOf(event.hash));
      break;
    case KvEvent::Kind::kCleared:
      told.mutable_cleared();
      break;
  }
  return told;
}

std::string KvEventBatches::Serialized(Batch batch) {
  using std::chrono::system_clock;
  batch.set_sequence_number(last_number_);
  batch.set_timestamp(std::chrono::duration<double>(system_clock::now().time_since_epoch()).count());
  batch.set_dp_rank(0);
  return batch.SerializeAsString();
}

AdminStream::Turn KvEventBatches::Next(TimePoint now) {
  if (parts_.is_over()) return {.is_last = true};
  if (events_.empty()) {
    events_ = parts_.reader->Take(kTakenAtOnce);
    std::reverse(events_.begin(), events_.end());
  }
  Batch batch;
  if (!events_.empty()) {
    last_number_ = events_.back().number;
    *batch.add_events() = CacheEventOf(events_.back());
    events_.pop_back();
    may_tell_load_ = true;
  } else if (!may_tell_load_ || now < load_due_) {
    return {.next = may_tell_load_ ? load_due_ : kNever};
  }
  if (now >= load_due_) {
    *batch.mutable_load() = parts_.read_load();
    batch.mutable_load()->set_sample(++num_loads_);
    batch.mutable_load()->set_load_only(batch.events().empty());
    load_due_ = now + kBetweenLoads;
  }
  return {.message = Serialized(std::move(batch)), .next = now};
}

}  // namespace latentd
