#include "server/call/live_call.h"

#include <algorithm>
#include <utility>

#include "server/api/status.h"

namespace latentd {
namespace {

SpanChoices ChoicesOf(const ValidRequest& valid) {
  return {.max_tokens = valid.request.stopping.max_tokens,
          .num_answers = valid.request.num_sequences,
          .temperature = valid.sampling.temperature(),
          .top_p = valid.sampling.top_p(),
          .top_k = valid.sampling.top_k(),
          .presence_penalty = valid.sampling.presence_penalty(),
          .frequency_penalty = valid.sampling.frequency_penalty(),
          .seed = valid.sampling.seed()};
}

}  // namespace

LiveCall::~LiveCall() {
  if (!request_id_.empty()) live_.Release(request_id_);
}

absl::Status LiveCall::Submit(ValidRequest request, TimePoint deadline, TextSink* sink) {
  id_ = live_.engine().NextRequestId();
  std::string name = request.request_id.empty() ? live_.MakeName(id_) : request.request_id;
  request_ = std::move(request);
  prompt_tokens_ = static_cast<int>(request_.request.prompt.size());
  record_.facts().request_id = name;
  record_.facts().prompt_tokens = prompt_tokens_;
  record_.facts().tenant = request_.request.scheduling.tenant;
  record_.facts().num_answers = request_.request.num_sequences;
  if (record_.is_traced()) record_.Asked(ChoicesOf(request_));
  const StreamBacklog backlog{.num_bytes = &record_.metrics().stream_backlog_bytes(),
                              .max_bytes = static_cast<int64_t>(live_.max_backlog_bytes())};
  stream_ = std::make_shared<TokenStream>(sink, live_.max_pending_bytes(), backlog);
  const bool is_new = live_.Claim({.request_id = name,
                                   .method = record_.method(),
                                   .id = id_,
                                   .received = record_.received(),
                                   .prompt_tokens = prompt_tokens_,
                                   .priority = request_.request.scheduling.priority,
                                   .tenant = request_.request.scheduling.tenant,
                                   .stream = stream_});
  if (!is_new) return DuplicateRequestId(name);
  request_id_ = std::move(name);
  request_.request.id = id_;
  request_.request.scheduling.client = record_.peer();
  request_.request.deadline = std::min(request_.request.deadline, deadline);
  const std::optional<Refusal> refusal = live_.engine().Submit(std::move(request_.request), stream_);
  if (refusal) return StatusOfRefusal(*refusal, {.request_id = request_id_, .tenant = record_.facts().tenant});
  record_.EngineTookIt();
  return absl::OkStatus();
}

std::optional<StreamChunk> LiveCall::Take() {
  bool was_full = false;
  std::optional<StreamChunk> chunk = stream_->Take(&was_full);
  if (was_full) live_.engine().Resume(id_);
  return chunk;
}

Metadata LiveCall::InitialMetadata() const {
  Metadata metadata = record_.EchoedTrace();
  metadata.insert(metadata.begin(), {"latentd-request-id", request_id_});
  return metadata;
}

}  // namespace latentd
