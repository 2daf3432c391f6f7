#include "server/admin/request_list.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <unordered_map>
#include <utility>

#include "server/api/proto_time.h"
#include "server/api/wire_message.h"

namespace latentd {
namespace {

google::protobuf::Duration Since(TimePoint then, TimePoint now) {
  return ToProto(std::max(Duration::zero(), Duration(now - then)));
}

v1::RequestPhase NameOf(Phase phase) {
  switch (phase) {
    case Phase::kQueued:
      return v1::REQUEST_PHASE_QUEUED;
    case Phase::kPrefill:
      return v1::REQUEST_PHASE_PREFILL;
    case Phase::kDecode:
      return v1::REQUEST_PHASE_DECODE;
    case Phase::kOutput:
      break;
  }
  return v1::REQUEST_PHASE_OUTPUT;
}

void SetProgress(const SequenceStatus& status, TimePoint now, v1::LiveRequest* entry) {
  entry->set_phase(NameOf(status.phase));
  *entry->mutable_phase_age() = Since(status.phase_began, now);
  entry->set_computed_tokens(static_cast<uint32_t>(status.computed_tokens));
  entry->set_generated_tokens(static_cast<uint32_t>(status.generated_tokens));
  entry->set_kv_blocks(static_cast<uint32_t>(status.kv_blocks));
}

// A request stands where the furthest of its sequences does, and has what all of them have.
void Add(const SequenceStatus& sequence, SequenceStatus& request) {
  if (sequence.phase > request.phase) {
    request.phase = sequence.phase;
    request.phase_began = sequence.phase_began;
  } else if (sequence.phase == request.phase) {
    request.phase_began = std::min(request.phase_began, sequence.phase_began);
  }
  request.computed_tokens += sequence.computed_tokens;
  request.generated_tokens += sequence.generated_tokens;
  request.kv_blocks += sequence.kv_blocks;
}

}  // namespace

v1::ListRequestsResult MergeStatus(const std::vector<LiveRequest>& live, const std::vector<SequenceStatus>& in_engine,
                                   TimePoint now) {
  std::unordered_map<RequestId, SequenceStatus> by_id;
  for (const SequenceStatus& status : in_engine) {
    const auto [entry, is_first] = by_id.emplace(status.id.request, status);
    if (!is_first) Add(status, entry->second);
  }
  std::vector<const LiveRequest*> ordered;
  for (const LiveRequest& request : live) ordered.push_back(&request);
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) { return a->id < b->id; });
  v1::ListRequestsResult result;
  for (const LiveRequest* request : ordered) {
    v1::LiveRequest* entry = result.add_requests();
    entry->set_request_id(request->request_id);
    entry->set_method(request->method);
    *entry->mutable_age() = Since(request->received, now);
    entry->set_prompt_tokens(static_cast<uint32_t>(request->prompt_tokens));
    entry->set_priority(request->priority);
    entry->set_tenant(request->tenant);
    entry->set_pending_output_bytes(request->stream->pending_bytes());
    const auto found = by_id.find(request->id);
    if (found == by_id.end()) {
      entry->set_phase(v1::REQUEST_PHASE_OUTPUT);
      if (const std::optional<StreamEnding> ending = request->stream->ending()) {
        *entry->mutable_phase_age() = Since(ending->finished, now);
        entry->set_generated_tokens(static_cast<uint32_t>(ending->output_tokens));
      }
    } else {
      SetProgress(found->second, now, entry);
    }
  }
  return result;
}

void RequestList::Handle(MessageBytes request) {
  v1::ListRequestsRequest message;
  if (absl::Status status = ParseMessage(request, &message); !status.ok()) return Refuse(status);
  EchoTrace();
  const ModelInService* serving = gate_.Find();
  if (serving == nullptr)
    return Answer(v1::ListRequestsResult().SerializeAsString());  // while the model loads there are none
  listed_ = serving->live.List();  // before the engine is asked: what it does not know then has left it
  reply_->Expect([this] { parts_.egress.Wake(slot_); });
  serving->live.engine().Describe(
      [reply = reply_](std::vector<SequenceStatus> in_engine) { reply->Give(std::move(in_engine)); });
}

void RequestList::Pump() {
  if (has_left()) return Ended(AnswerFate::kLeft, 0);
  const std::optional<std::vector<SequenceStatus>> in_engine = reply_->Take();
  if (!in_engine) return;
  Answer(MergeStatus(listed_, *in_engine, std::chrono::steady_clock::now()).SerializeAsString());
}

void RequestList::Detach() { reply_->Forget(); }

}  // namespace latentd
