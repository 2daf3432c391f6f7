#include "server/admin/admin_service.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "engine/schedule/flight_dump.h"
#include "engine/step/step_profile.h"
#include "server/admin/cache_flush.h"
#include "server/admin/request_list.h"
#include "server/api/field_checks.h"
#include "server/api/proto_time.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"
#include "server/call/immediate_call.h"
#include "server/process/flight_dumps.h"
#include "server/process/logging.h"

namespace latentd {
namespace {

// A drain's progress is told when it changed, but not more often, and not less often, than so.
constexpr std::chrono::milliseconds kProgressTick{100};
constexpr std::chrono::seconds kProgressPeriod{1};

constexpr double kDefaultInterval = 1.0;
constexpr double kShortestInterval = 0.1;
constexpr double kLongestInterval = 3600.0;
constexpr double kLongestDrain = 86400.0;

// The head of a dump, and some entries.
constexpr uint64_t kSmallestDump = 1024;
static_assert(kSmallestDump > kFlightHeadBytes + kMaxFlightFingerprintBytes + kFlightEntryBytes);
constexpr size_t kDumpChunkBytes = 64 << 10;

constexpr uint32_t kDefaultProfiledSteps = 10;
// Whether a profile is complete is looked at so often.
constexpr std::chrono::milliseconds kProfileTick{20};

v1::ConfigSource SourceOf(KnobSource source) {
  switch (source) {
    case KnobSource::kDefault:
      return v1::CONFIG_SOURCE_DEFAULT;
    case KnobSource::kFile:
      return v1::CONFIG_SOURCE_FILE;
    case KnobSource::kEnvironment:
      return v1::CONFIG_SOURCE_ENVIRONMENT;
    case KnobSource::kFlag:
      return v1::CONFIG_SOURCE_FLAG;
    case KnobSource::kAdmin:
      break;
  }
  return v1::CONFIG_SOURCE_ADMIN;
}

struct SecondsRange {
  double lowest, highest;
};

absl::StatusOr<double> SecondsOf(std::string_view field, const google::protobuf::Duration& duration,
                                 const SecondsRange& range) {
  FieldChecks checks;
  checks.Range(std::string(field) + ".nanos", duration.nanos(), 0, 999'999'999);
  const double seconds = static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
  checks.Range(field, seconds, range.lowest, range.highest);
  if (absl::Status status = checks.Result(); !status.ok()) return status;
  return seconds;
}

// The next part of `text`.
AdminStream::Turn ChunkOf(const std::string& text, TimePoint now, size_t& num_sent) {
  v1::DumpChunk chunk;
  chunk.set_content(text.substr(num_sent, kDumpChunkBytes));
  num_sent += chunk.content().size();
  return {.message = chunk.SerializeAsString(), .is_last = num_sent == text.size(), .next = now};
}

}  // namespace

AdminService::AdminService(const Parts& parts, const CallParts& rpc, std::vector<KnobValue> knobs)
    : ByteService(*v1::AbortRequest::descriptor()->file()->FindServiceByName("Admin")),
      parts_(parts),
      rpc_(rpc),
      streams_(rpc.egress),
      knobs_(std::move(knobs)) {
  RegisterAnswer("Abort", &AdminService::Abort);
  RegisterAnswer("GetLoad", &AdminService::GetLoad);
  RegisterAnswer("GetConfig", &AdminService::GetConfig);
  RegisterAnswer("SetLogLevel", &AdminService::SetLogLevel);
  RegisterStream("Drain", &AdminService::Drain);
  RegisterStream("WatchLoad", &AdminService::WatchLoad);
  RegisterStream("DumpFlightRecorder", &AdminService::DumpFlightRecorder);
  RegisterStream("ProfileSteps", &AdminService::ProfileSteps);
  Register("ListRequests", [this](grpc::CallbackServerContext* context) {
    return StartRpc<RequestList>(*context, rpc_, "ListRequests", parts_.gate);
  });
  Register("FlushPrefixCache", [this](grpc::CallbackServerContext* context) {
    return StartRpc<CacheFlush>(*context, rpc_, "FlushPrefixCache", parts_.gate);
  });
  CheckComplete();
}

template <class Result>
void AdminService::RegisterAnswer(const std::string& method, Answer<Result> answer) {
  Register(method, [this, method, answer](grpc::CallbackServerContext* context) {
    return StartRpc<ImmediateCall<Result>>(*context, rpc_, method, std::bind_front(answer, this));
  });
}

void AdminService::RegisterStream(const std::string& method, Open open) {
  Register(method, [this, method, open](grpc::CallbackServerContext* context) {
    return StartRpc<AdminStream>(*context, rpc_, method, streams_, std::bind_front(open, this));
  });
}

// ---------------------------------------------------------------------------------------------------------- requests

LiveRequests* AdminService::FindLive() const {
  const ModelInService* serving = parts_.gate.Find();
  return serving == nullptr ? nullptr : &serving->live;
}

absl::StatusOr<v1::AbortResult> AdminService::Abort(MessageBytes bytes) {
  absl::StatusOr<v1::AbortRequest> message = ParseAs<v1::AbortRequest>(bytes);
  if (!message.ok()) return message.status();
  std::vector<std::string> ids(message->request_ids().begin(), message->request_ids().end());
  if (message->all() && !ids.empty()) return InvalidField("request_ids", "expected none together with all=true");
  if (!message->all() && ids.empty()) return InvalidField("request_ids", "expected at least one, or all=true");
  LiveRequests* live = FindLive();
  if (message->all() && live != nullptr) {
    for (LiveRequest& request : live->List()) ids.push_back(std::move(request.request_id));
  }
  v1::AbortResult result;
  for (std::string& id : ids) {
    const bool is_aborted = live != nullptr && live->Abort(id);
    if (message->all() && !is_aborted) continue;  // over since it was listed
    v1::AbortResult::Entry* entry = result.add_entries();
    entry->set_outcome(is_aborted ? v1::AbortResult::OUTCOME_ABORTED : v1::AbortResult::OUTCOME_NOT_FOUND);
    entry->set_request_id(std::move(id));
  }
  return result;
}

// -------------------------------------------------------------------------------------------------------------- load

v1::Load AdminService::ReadLoad() const {
  v1::Load load = parts_.load.Read();
  load.set_draining(parts_.drain.stage() != DrainState::Stage::kServing);
  return load;
}

absl::StatusOr<v1::Load> AdminService::GetLoad(MessageBytes bytes) {
  if (absl::Status status = ParseAs<v1::GetLoadRequest>(bytes).status(); !status.ok()) return status;
  return ReadLoad();
}

AdminStream::Source AdminService::LoadSource(Duration interval) {
  return [this, interval, due = TimePoint::min()](TimePoint now) mutable {
    AdminStream::Turn turn{.is_last = parts_.drain.stage() == DrainState::Stage::kOver};
    if (now >= due || turn.is_last) {
      turn.message = ReadLoad().SerializeAsString();
      // From report to report, not from when they were due: a reader that comes late misses some, and gets no burst.
      due = now + interval;
    }
    turn.next = due;
    return turn;
  };
}

absl::StatusOr<AdminStream::Source> AdminService::WatchLoad(MessageBytes bytes) {
  const absl::StatusOr<v1::WatchLoadRequest> message = ParseAs<v1::WatchLoadRequest>(bytes);
  if (!message.ok()) return message.status();
  if (!message->has_interval()) return LoadSource(FromSeconds(kDefaultInterval));
  const absl::StatusOr<double> interval =
      SecondsOf("interval", message->interval(), {kShortestInterval, kLongestInterval});
  if (!interval.ok()) return interval.status();
  return LoadSource(FromSeconds(*interval));
}

// ------------------------------------------------------------------------------------------------------------- drain

AdminStream::Source AdminService::DrainSource() {
  return [this, told_at = TimePoint::min(), told = size_t{0}](TimePoint now) mutable {
    const DrainState::Stage stage = parts_.drain.stage();
    AdminStream::Turn turn{.is_last = stage == DrainState::Stage::kOver, .next = now + kProgressTick};
    if (stage == DrainState::Stage::kAsked) return turn;  // the first report says that new requests are refused
    const LiveRequests* live = FindLive();
    const size_t in_flight = live == nullptr ? 0 : live->size();
    const bool is_first = told_at == TimePoint::min();
    if (is_first || turn.is_last || in_flight != told || now >= told_at + kProgressPeriod) {
      v1::DrainProgress progress;
      progress.set_requests_in_flight(static_cast<uint32_t>(in_flight));
      const Duration left = std::max(Duration::zero(), Duration(parts_.drain.deadline() - now));
      *progress.mutable_remaining() = ToProto(left);
      turn.message = progress.SerializeAsString();
      told_at = now;
      told = in_flight;
    }
    return turn;
  };
}

absl::StatusOr<AdminStream::Source> AdminService::Drain(MessageBytes bytes) {
  const absl::StatusOr<v1::DrainRequest> message = ParseAs<v1::DrainRequest>(bytes);
  if (!message.ok()) return message.status();
  absl::StatusOr<double> timeout = parts_.drain_seconds;
  if (message->has_timeout()) timeout = SecondsOf("timeout", message->timeout(), {0.0, kLongestDrain});
  if (!timeout.ok()) return timeout.status();
  if (parts_.drain.Ask(std::chrono::steady_clock::now() + FromSeconds(*timeout))) parts_.stop.Send();
  return DrainSource();
}

// ------------------------------------------------------------------------------------------------------------- knobs

absl::StatusOr<v1::Configuration> AdminService::GetConfig(MessageBytes bytes) {
  if (absl::Status status = ParseAs<v1::GetConfigRequest>(bytes).status(); !status.ok()) return status;
  v1::Configuration configuration;
  std::lock_guard lock(mutex_);
  for (const KnobValue& knob : knobs_) {
    v1::Configuration::Knob* entry = configuration.add_knobs();
    entry->set_name(knob.name);
    entry->set_value(knob.value);
    entry->set_source(SourceOf(knob.source));
  }
  return configuration;
}

void AdminService::Resolve(const DerivedKnobs& derived) {
  std::lock_guard lock(mutex_);
  knobs_ = WithDerived(std::move(knobs_), derived);
}

absl::StatusOr<v1::SetLogLevelResult> AdminService::SetLogLevel(MessageBytes bytes) {
  const absl::StatusOr<v1::SetLogLevelRequest> message = ParseAs<v1::SetLogLevelRequest>(bytes);
  if (!message.ok()) return message.status();
  std::lock_guard lock(mutex_);  // or the knob could say other than what holds
  absl::StatusOr<std::string> previous = latentd::SetLogLevel(message->level());
  if (!previous.ok()) return InvalidField("level", std::string(previous.status().message()));
  for (KnobValue& knob : knobs_) {
    if (knob.name != "log-level") continue;
    knob.value = message->level();
    knob.source = KnobSource::kAdmin;
  }
  v1::SetLogLevelResult result;
  result.set_previous_level(*std::move(previous));
  return result;
}

// ---------------------------------------------------------------------------------------------------- flight recorder

absl::StatusOr<AdminStream::Source> AdminService::DumpFlightRecorder(MessageBytes bytes) {
  const absl::StatusOr<v1::DumpFlightRecorderRequest> message = ParseAs<v1::DumpFlightRecorderRequest>(bytes);
  if (!message.ok()) return message.status();
  constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
  const uint64_t max_bytes = message->has_max_bytes() ? message->max_bytes() : kAll;
  FieldChecks checks;
  checks.Range("max_bytes", max_bytes, kSmallestDump, kAll);
  if (absl::Status status = checks.Result(); !status.ok()) return status;
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return parts_.gate.Loading();
  const uint64_t most = (max_bytes - kFlightHeadBytes - kMaxFlightFingerprintBytes) / kFlightEntryBytes;
  FlightDump dump = TakeFlightDump(serving->live.engine().recorder(), most, SteadyClock());
  dump.fingerprint = serving->model.description.fingerprint();
  return [dump = WriteFlightDump(dump), num_sent = size_t{0}](TimePoint now) mutable {
    return ChunkOf(dump, now, num_sent);
  };
}

// ------------------------------------------------------------------------------------------------------------ profile

absl::StatusOr<AdminStream::Source> AdminService::ProfileSteps(MessageBytes bytes) {
  const absl::StatusOr<v1::ProfileStepsRequest> message = ParseAs<v1::ProfileStepsRequest>(bytes);
  if (!message.ok()) return message.status();
  const uint32_t steps = message->has_steps() ? message->steps() : kDefaultProfiledSteps;
  FieldChecks checks;
  checks.Range("steps", steps, 1, kMostProfiledSteps);
  if (absl::Status status = checks.Result(); !status.ok()) return status;
  const ModelInService* serving = parts_.gate.Find();
  if (serving == nullptr) return parts_.gate.Loading();
  if (serving->profiled_ops == nullptr) {
    return UnsupportedField("steps",
                            "expected a model on the CPU, found one on a GPU, where calls only launch: use "
                            "the GPU's own profiler");
  }
  auto profile = std::make_shared<StepProfile>(*serving->profiled_ops, static_cast<int>(steps));
  return [profile = std::move(profile), trace = std::string(), num_sent = size_t{0}](TimePoint now) mutable {
    if (profile != nullptr) {
      std::optional<std::string> complete = profile->Trace();
      if (!complete) return AdminStream::Turn{.next = now + kProfileTick};
      trace = *std::move(complete);
      profile = nullptr;
    }
    return ChunkOf(trace, now, num_sent);
  };
}

}  // namespace latentd
