// The prefix cache's events as VllmEngine.SubscribeKvEvents tells them, each in a batch of its own under its number, so
// that a subscriber sees a gap; and the load beside them, once a second where nothing happens. The source of one
// stream, asked by its egress thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "engine/loop/kv_event_stream.h"
#include "server/admin/admin_stream.h"
#include "smg/common.pb.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {

// What both messages call the same.
smg::grpc::common::EngineLoad EngineLoadOf(const vllm::grpc::engine::SchedulerLoad& load);
smg::grpc::common::KvCacheEvent CacheEventOf(const KvEvent& event);

class KvEventBatches {
 public:
  struct Parts {
    std::unique_ptr<KvEventReader> reader;
    std::function<smg::grpc::common::EngineLoad()> read_load;
    std::function<bool()> is_over;  // the server shuts down
    bool may_begin_with_load = false;
  };
  explicit KvEventBatches(Parts parts) : parts_(std::move(parts)), may_tell_load_(parts_.may_begin_with_load) {}

  AdminStream::Turn Next(TimePoint now);

 private:
  using Batch = smg::grpc::common::KvEventBatch;

  std::string Serialized(Batch batch);

  const Parts parts_;
  std::vector<KvEvent> events_;  // taken and not told, the next one last
  uint64_t last_number_ = 0;     // told
  uint64_t num_loads_ = 0;
  bool may_tell_load_;
  TimePoint load_due_ = TimePoint::min();
};

}  // namespace latentd
