#include "server/smg/engine_service.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <string_view>
#include <system_error>
#include <utility>

#include <absl/strings/str_format.h>

#include "base/now.h"
#include "engine/schedule/block_id.h"
#include "server/api/answer_limit.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"
#include "server/call/engine_call.h"
#include "server/smg/generate_request.h"
#include "server/smg/generate_responses.h"
#include "server/smg/idle_flush.h"
#include "server/smg/kv_event_batches.h"
#include "server/smg/worker_facts.h"

namespace latentd {
namespace {

namespace pb = vllm::grpc::engine;
namespace common = smg::grpc::common;

constexpr size_t kTokenizerChunkBytes = 1 << 20;
static_assert(kTokenizerChunkBytes < kDefaultAnswerBytes);

std::string MetricsName(std::string_view method) { return std::string(kSmgPrefix) + std::string(method); }

// Empty where the knob names one of the model's own templates, or none.
std::filesystem::path TemplateFileOf(const Config& config) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(config.chat_template, ignored) ? config.chat_template : "";
}

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.string();
}

}  // namespace

VllmEngineService::VllmEngineService(const Parts& parts, const CallParts& calls)
    : ByteService(*pb::GenerateRequest::descriptor()->file()->FindServiceByName("VllmEngine")),
      parts_(parts),
      calls_(calls),
      started_(Now()),
      admission_(parts.gate),
      tokenizer_streams_(calls.egress),
      event_streams_(calls.egress),
      tokenizer_(parts.config.model_directory, TemplateFileOf(parts.config)) {
  Register("Generate", [this](grpc::CallbackServerContext* context) { return StartGenerate(*context); });
  RegisterAnswer("HealthCheck", &VllmEngineService::HealthCheck);
  RegisterAnswer("Abort", &VllmEngineService::Abort);
  RegisterAnswer("GetModelInfo", &VllmEngineService::GetModelInfo);
  RegisterAnswer("GetServerInfo", &VllmEngineService::GetServerInfo);
  RegisterAnswer("GetLoads", &VllmEngineService::GetLoads);
  Register("FlushCache", [this](grpc::CallbackServerContext* context) {
    return StartRpc<IdleFlush>(*context, calls_, MetricsName("FlushCache"), parts_.gate);
  });
  RegisterStream("GetTokenizer", tokenizer_streams_, &VllmEngineService::GetTokenizer);
  RegisterStream("SubscribeKvEvents", event_streams_, &VllmEngineService::SubscribeKvEvents);
  CheckComplete();
}

void VllmEngineService::StopAdmitting() {
  admission_.Stop();
  is_draining_ = true;
  event_streams_.WakeAll();
}

void VllmEngineService::RegisterStream(const std::string& method, OpenStreams& streams, Open open) {
  Register(method, [this, name = MetricsName(method), &streams, open](grpc::CallbackServerContext* context) {
    return StartRpc<AdminStream>(*context, calls_, name, streams, std::bind_front(open, this));
  });
}

template <class Result>
void VllmEngineService::RegisterAnswer(const std::string& method, Answer<Result> answer) {
  Register(method, [this, name = MetricsName(method), answer](grpc::CallbackServerContext* context) {
    return StartRpc<ImmediateCall<Result>>(*context, calls_, name, std::bind_front(answer, this));
  });
}

// ------------------------------------------------------------------------------------------------------------ generate

RpcReactor* VllmEngineService::StartGenerate(grpc::CallbackServerContext& context) {
  using std::chrono::system_clock;
  last_receive_seconds_ = std::chrono::duration<double>(system_clock::now().time_since_epoch()).count();
  const absl::StatusOr<const ModelInService*> serving = admission_.FindModel();
  const std::string method = MetricsName("Generate");
  if (!serving.ok()) return RefuseUnread(context, calls_, method, serving.status());
  auto responses = std::make_unique<GenerateResponses>();
  // The call owns both, and admits before it asks for any answer.
  auto admit = [this, &wishes = *responses](
                   MessageBytes bytes, const AdmissionRequest& arrival) -> absl::StatusOr<std::unique_ptr<LiveCall>> {
    const auto translate = [&](const ServedModel& model) -> absl::StatusOr<v1::GenerateRequest> {
      absl::StatusOr<SmgGenerate> read = ReadSmgGenerate(bytes, model);
      if (!read.ok()) return read.status();
      const bool has_n = read->request.sampling().has_n();
      wishes.Choose(read->is_streamed ? GenerateResponses::Delivery::kChunks : GenerateResponses::Delivery::kHeld,
                    has_n ? static_cast<int>(read->request.sampling().n()) : 1);
      return std::move(read->request);
    };
    absl::StatusOr<std::unique_ptr<LiveCall>> live = admission_.AdmitTranslated(translate, arrival);
    if (!live.ok()) return WithSmgFieldNames(live.status());
    return live;
  };
  return StartRpc<EngineCall>(context, calls_, method, (*serving)->model.description, std::move(admit),
                              std::move(responses));
}

absl::StatusOr<pb::AbortResponse> VllmEngineService::Abort(MessageBytes bytes) {
  const absl::StatusOr<pb::AbortRequest> message = ParseAs<pb::AbortRequest>(bytes);
  if (!message.ok()) return message.status();
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return pb::AbortResponse();
  // It is the gateway's own client that left.
  for (const std::string& id : message->request_ids()) serving->live.Abort(id, FinishReason::kCancelled);
  return pb::AbortResponse();
}

// ---------------------------------------------------------------------------------------------------------- the worker

absl::StatusOr<pb::HealthCheckResponse> VllmEngineService::HealthCheck(MessageBytes bytes) {
  if (absl::Status status = ParseAs<pb::HealthCheckRequest>(bytes).status(); !status.ok()) return status;
  return HealthOf(parts_.state.view());
}

absl::StatusOr<pb::GetModelInfoResponse> VllmEngineService::GetModelInfo(MessageBytes bytes) {
  if (absl::Status status = ParseAs<pb::GetModelInfoRequest>(bytes).status(); !status.ok()) return status;
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return parts_.gate.Loading();
  return ModelInfoOf(serving->model.description, AbsolutePath(parts_.config.model_directory));
}

absl::StatusOr<pb::GetServerInfoResponse> VllmEngineService::GetServerInfo(MessageBytes bytes) {
  if (absl::Status status = ParseAs<pb::GetServerInfoRequest>(bytes).status(); !status.ok()) return status;
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return parts_.gate.Loading();
  pb::GetServerInfoResponse info;
  info.set_active_requests(static_cast<uint32_t>(serving->live.size()));
  info.set_last_receive_timestamp(last_receive_seconds_);
  info.set_uptime_seconds(Seconds(Now() - started_));
  info.set_server_type("vllm-grpc");  // the protocol, as the gateway tells workers apart
  info.set_data_parallel_size(1);
  info.set_block_size(kBlockSlots);
  info.set_max_num_seqs(static_cast<int32_t>(serving->model.description.limits().max_rows()));
  return info;
}

pb::SchedulerLoad VllmEngineService::ReadLoad() {
  std::call_once(has_load_, [this] { load_ = std::make_unique<LoadMonitor>(parts_.metrics, parts_.gate); });
  const ModelInService* serving = parts_.gate.Find();
  const v1::ModelLimits limits = serving == nullptr ? v1::ModelLimits() : serving->model.description.limits();
  return SchedulerLoadOf(load_->Read(), limits);
}

absl::StatusOr<pb::GetLoadsResponse> VllmEngineService::GetLoads(MessageBytes bytes) {
  const absl::StatusOr<pb::GetLoadsRequest> message = ParseAs<pb::GetLoadsRequest>(bytes);
  if (!message.ok()) return message.status();
  pb::GetLoadsResponse response;
  response.set_timestamp(Iso8601(std::chrono::system_clock::now()));
  response.set_version("latentd " LATENTD_VERSION);
  response.set_dp_rank_count(1);
  if (message->dp_rank() != 0) return response;  // it has no other rank
  *response.add_loads() = ReadLoad();
  return response;
}

absl::StatusOr<AdminStream::Source> VllmEngineService::GetTokenizer(MessageBytes bytes) {
  if (absl::Status status = ParseAs<common::GetTokenizerRequest>(bytes).status(); !status.ok()) return status;
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return parts_.gate.Loading();
  if (serving->model.tokenizer == nullptr) return NoTokenizer("GetTokenizer");
  absl::StatusOr<std::shared_ptr<const PackedTokenizer>> packed = tokenizer_.Get();
  if (!packed.ok()) {
    return NoTokenizer(absl::StrFormat("GetTokenizer (%s)", std::string(packed.status().message())));
  }
  return [packed = *std::move(packed), num_sent = size_t{0}](TimePoint now) mutable {
    common::GetTokenizerChunk chunk;
    chunk.set_data(packed->zip.substr(num_sent, kTokenizerChunkBytes));
    num_sent += chunk.data().size();
    const bool is_last = num_sent == packed->zip.size();
    if (is_last) chunk.set_sha256(packed->sha256);
    return AdminStream::Turn{.message = chunk.SerializeAsString(), .is_last = is_last, .next = now};
  };
}

absl::StatusOr<AdminStream::Source> VllmEngineService::SubscribeKvEvents(MessageBytes bytes) {
  const absl::StatusOr<common::SubscribeKvEventsRequest> message = ParseAs<common::SubscribeKvEventsRequest>(bytes);
  if (!message.ok()) return message.status();
  if (is_draining_) return Draining();
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return parts_.gate.Loading();
  KvEventStream& events = serving->live.engine().kv_events();
  auto batches = std::make_shared<KvEventBatches>(
      KvEventBatches::Parts{.reader = std::make_unique<KvEventReader>(events, message->start_sequence_number(),
                                                                      [this] { event_streams_.WakeAll(); }),
                            .read_load = [this] { return EngineLoadOf(ReadLoad()); },
                            .is_over = [this] { return is_draining_.load(); },
                            .may_begin_with_load = message->load_records_before_first_batch()});
  return [batches](TimePoint now) { return batches->Next(now); };
}

}  // namespace latentd
