#include "server/smg/generate_request.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/cord.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/wire_format_lite.h>

#include "google/rpc/error_details.pb.h"
#include "server/api/group_checks.h"
#include "server/api/request_bounds.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {
namespace {

namespace pb = vllm::grpc::engine;
using google::protobuf::Message;
using google::protobuf::internal::WireFormatLite;

constexpr std::string_view kOtherEngines = "this server exchanges no cache with other engines; leave it unset";
constexpr std::string_view kTextOnly = "this model takes text alone; leave it unset";

// Fields of the request itself that are refused whatever is in them.
struct RefusedField {
  int number;
  std::string_view why;
};
constexpr std::array kRefused = {
    RefusedField{pb::GenerateRequest::kKvTransferParamsFieldNumber, kOtherEngines},
    RefusedField{pb::GenerateRequest::kKvTransferParamsJsonFieldNumber, kOtherEngines},
    RefusedField{pb::GenerateRequest::kMmInputsFieldNumber, kTextOnly},
    RefusedField{pb::GenerateRequest::kExtraMmInputsFieldNumber, kTextOnly},
    RefusedField{pb::GenerateRequest::kMediaRefsFieldNumber, kTextOnly},
};

// Looked for before anything is parsed: an image has more bytes than a message may have that says nothing to us.
absl::Status CheckRefused(MessageBytes bytes) {
  MessageReader reader(bytes);
  google::protobuf::io::CodedInputStream input(&reader);
  for (uint32_t tag = input.ReadTag(); tag != 0; tag = input.ReadTag()) {
    const int number = WireFormatLite::GetTagFieldNumber(tag);
    for (const RefusedField& refused : kRefused) {
      if (refused.number != number) continue;
      return UnsupportedField(pb::GenerateRequest::descriptor()->FindFieldByNumber(number)->name(), refused.why);
    }
    if (!WireFormatLite::SkipField(&input, tag)) break;  // no message: parsing tells
  }
  return absl::OkStatus();
}

// A newer gateway may ask for what this server has never heard of.
absl::Status CheckKnown(const Message& message, std::string_view path) {
  const google::protobuf::UnknownFieldSet& unknown = message.GetReflection()->GetUnknownFields(message);
  if (unknown.empty()) return absl::OkStatus();
  return UnsupportedField(
      absl::StrFormat("%sfield %d", path, unknown.field(0).number()),
      absl::StrFormat("expected a field of smg-grpc-proto 0.4.28, found another one in %s; leave it unset",
                      message.GetDescriptor()->name()));
}

// The constraint that is set, by its name.
absl::Status CheckUnconstrained(const pb::SamplingParams& params) {
  if (params.constraint_case() == pb::SamplingParams::CONSTRAINT_NOT_SET) return absl::OkStatus();
  const auto* field = pb::SamplingParams::descriptor()->FindFieldByNumber(params.constraint_case());
  return UnsupportedField("sampling_params." + field->name(), "constrained generation is not implemented");
}

absl::Status CheckParams(const pb::SamplingParams& params) {
  if (absl::Status status = CheckKnown(params, "sampling_params."); !status.ok()) return status;
  if (absl::Status status = CheckUnconstrained(params); !status.ok()) return status;
  FieldChecks checks;
  checks.Unsupported(params.grammar_from_first_token(), "sampling_params.grammar_from_first_token",
                     "constrained generation is not implemented");
  checks.Unsupported(params.has_prompt_logprobs(), "sampling_params.prompt_logprobs",
                     "log-probabilities of the prompt come from latentd.v1's Score");
  checks.Unsupported(params.has_truncate_prompt_tokens(), "sampling_params.truncate_prompt_tokens",
                     "a prompt that is too long is refused, not cut");
  checks.Range("sampling_params.logprobs", params.logprobs(), 0, static_cast<int32_t>(kMaxTopLogprobs));
  for (const auto& [id, bias] : params.logit_bias()) {
    if (id < 0) checks.Range(absl::StrFormat("sampling_params.logit_bias[%d]", id), id, 0, INT32_MAX);
    if (checks.is_full()) break;
  }
  return checks.Result();
}

absl::Status CheckRequest(const pb::GenerateRequest& message) {
  if (absl::Status status = CheckKnown(message, ""); !status.ok()) return status;
  if (absl::Status status = CheckKnown(message.tokenized(), "tokenized."); !status.ok()) return status;
  if (message.data_parallel_rank() != 0) {
    return InvalidField("data_parallel_rank", absl::StrFormat("expected 0, the only rank of this server, found %d",
                                                              message.data_parallel_rank()));
  }
  return CheckParams(message.sampling_params());
}

// 0 is what a scalar is that was not sent: each of these then changes nothing, whatever the model's own defaults are.
float OneForZero(float value) { return value == 0.0f ? 1.0f : value; }

void SetSampling(const pb::SamplingParams& params, v1::Sampling* sampling) {
  if (params.has_temperature()) sampling->set_temperature(params.temperature());
  sampling->set_top_p(OneForZero(params.top_p()));
  sampling->set_top_k(params.top_k());
  sampling->set_min_p(params.min_p());
  sampling->set_frequency_penalty(params.frequency_penalty());
  sampling->set_presence_penalty(params.presence_penalty());
  sampling->set_repetition_penalty(OneForZero(params.repetition_penalty()));
  for (const auto& [id, bias] : params.logit_bias())
    (*sampling->mutable_logit_bias())[static_cast<uint32_t>(id)] = bias;
  // A negative one, too, names one sequence of draws.
  if (params.has_seed()) sampling->set_seed(static_cast<uint64_t>(int64_t{params.seed()}));
  if (params.n() > 0) sampling->set_n(params.n());
}

void SetStopping(const pb::SamplingParams& params, v1::Stopping* stopping) {
  if (params.has_max_tokens()) stopping->set_max_tokens(params.max_tokens());
  stopping->set_min_tokens(params.min_tokens());
  *stopping->mutable_stop() = params.stop();
  *stopping->mutable_stop_token_ids() = params.stop_token_ids();
  stopping->set_include_stop(params.include_stop_str_in_output());
  stopping->set_ignore_eos(params.ignore_eos());
}

// The client makes the text itself; here it only decides where a stop string begins.
void SetOutput(const pb::SamplingParams& params, const ServedModel& model, v1::Output* output) {
  output->set_text(false);
  output->set_token_ids(true);
  if (params.has_logprobs()) output->set_logprobs(static_cast<uint32_t>(params.logprobs()));
  if (model.tokenizer != nullptr) output->set_skip_special_tokens(params.skip_special_tokens());
}

// A field's path in latentd.v1's request and its path here.
std::string SmgNameOf(std::string_view field) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kPrefixes = {{
      {"token_ids.ids", "tokenized.input_ids"},
      {"sampling.", "sampling_params."},
      {"stopping.include_stop", "sampling_params.include_stop_str_in_output"},
      {"stopping.", "sampling_params."},
      {"output.", "sampling_params."},
  }};
  if (field == "prompt") return "input";
  for (const auto& [ours, theirs] : kPrefixes) {
    if (field.starts_with(ours)) return std::string(theirs) + std::string(field.substr(ours.size()));
  }
  return std::string(field);
}

}  // namespace

absl::StatusOr<SmgGenerate> ReadSmgGenerate(MessageBytes bytes, const ServedModel& model) {
  if (absl::Status status = CheckRefused(bytes); !status.ok()) return status;
  absl::StatusOr<pb::GenerateRequest> message = ParseAs<pb::GenerateRequest>(bytes, BoundsOf(model.description));
  if (!message.ok()) return message.status();
  if (absl::Status status = CheckRequest(*message); !status.ok()) return status;
  SmgGenerate read{.is_streamed = message->stream()};
  v1::GenerateRequest& request = read.request;
  if (!message->request_id().empty()) request.set_request_id(message->request_id());
  if (message->has_text()) request.set_text(std::move(*message->mutable_text()));
  if (message->has_tokenized()) {
    request.mutable_token_ids()->mutable_ids()->Swap(message->mutable_tokenized()->mutable_input_ids());
  }
  const pb::SamplingParams& params = message->sampling_params();
  SetSampling(params, request.mutable_sampling());
  SetStopping(params, request.mutable_stopping());
  SetOutput(params, model, request.mutable_output());
  return read;
}

absl::Status WithSmgFieldNames(const absl::Status& status) {
  constexpr char kBadRequest[] = "type.googleapis.com/google.rpc.BadRequest";
  google::rpc::BadRequest bad_request;
  const absl::optional<absl::Cord> payload = status.GetPayload(kBadRequest);
  if (!payload || !bad_request.ParseFromString(std::string(*payload))) return status;
  std::vector<FieldViolation> violations;
  std::string message(status.message());
  for (auto& violation : *bad_request.mutable_field_violations()) {
    const std::string name = SmgNameOf(violation.field());
    message = absl::StrReplaceAll(message, {{violation.field() + ": ", name + ": "}});
    violation.set_field(name);
    violations.push_back(MakeViolation(name, violation.description()));
  }
  if (CauseOf(status) == Cause::kInvalidField) return InvalidFields(violations);  // several may be too long together
  absl::Status renamed(status.code(), message);
  status.ForEachPayload(
      [&renamed](absl::string_view type, const absl::Cord& detail) { renamed.SetPayload(type, detail); });
  renamed.SetPayload(kBadRequest, absl::Cord(bad_request.SerializeAsString()));
  return renamed;
}

}  // namespace latentd
