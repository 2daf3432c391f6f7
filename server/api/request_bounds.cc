#include "server/api/request_bounds.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/str_format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "base/check.h"
#include "latentd/v1/admin.pb.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/status.h"
#include "smg/common.pb.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

enum class Most : uint8_t { kFixed, kVocabulary, kContext };

struct Bound {
  std::string_view field;  // full name
  Most kind = Most::kFixed;
  size_t most = 0;  // where it is fixed

  size_t For(const ModelBounds& model) const {
    if (kind == Most::kVocabulary) return model.vocab_size;
    return kind == Most::kContext ? model.max_context_tokens : most;
  }
};

constexpr std::array kBounds = {
    Bound{.field = "latentd.v1.TokenIds.ids", .kind = Most::kContext},
    Bound{.field = "latentd.v1.Sampling.allowed_token_ids", .kind = Most::kVocabulary},
    Bound{.field = "latentd.v1.Sampling.logit_bias", .most = kMaxLogitBiases},
    Bound{.field = "latentd.v1.Sampling.bad_words", .most = kMaxBadWords},
    Bound{.field = "latentd.v1.Stopping.stop", .most = kMaxStopStrings},
    Bound{.field = "latentd.v1.Stopping.stop_token_ids", .most = kMaxStopTokenIds},
    Bound{.field = "latentd.v1.Choice.texts", .most = kMaxChoices},
    Bound{.field = "latentd.v1.ChatRequest.messages", .most = kMaxMessages},
    Bound{.field = "latentd.v1.ChatRequest.tools", .most = kMaxTools},
    Bound{.field = "latentd.v1.ChatInput.messages", .most = kMaxMessages},
    Bound{.field = "latentd.v1.ChatInput.tools", .most = kMaxTools},
    Bound{.field = "latentd.v1.ChatMessage.tool_calls", .most = kMaxToolCallsInAll},
    Bound{.field = "latentd.v1.ChatMessage.content_parts", .most = kMaxContentPartsInAll},
    Bound{.field = "latentd.v1.TemplateOptions.variables_json", .most = kMaxVariables},
    Bound{.field = "latentd.v1.DetokenizeRequest.token_ids", .most = kMaxDetokenizedIds},
    Bound{.field = "latentd.v1.AbortRequest.request_ids", .most = kMaxAbortIds},
    Bound{.field = "vllm.grpc.engine.TokenizedInput.input_ids", .kind = Most::kContext},
    Bound{.field = "vllm.grpc.engine.SamplingParams.logit_bias", .most = kMaxLogitBiases},
    Bound{.field = "vllm.grpc.engine.SamplingParams.stop", .most = kMaxStopStrings},
    Bound{.field = "vllm.grpc.engine.SamplingParams.stop_token_ids", .most = kMaxStopTokenIds},
    Bound{.field = "vllm.grpc.engine.ChoiceConstraint.choices", .most = kMaxChoices},
    Bound{.field = "vllm.grpc.engine.GenerateRequest.extra_mm_inputs", .most = kMaxMediaBatches},
    Bound{.field = "vllm.grpc.engine.GetLoadsRequest.include", .most = kMaxLoadSections},
    Bound{.field = "vllm.grpc.engine.AbortRequest.request_ids", .most = kMaxAbortIds},
};
constexpr int kNoBound = -1;

int BoundIndexOf(const FieldDescriptor& field) {
  for (size_t i = 0; i < kBounds.size(); ++i) {
    if (kBounds[i].field == field.full_name()) return static_cast<int>(i);
  }
  return kNoBound;
}

// What the walk has to know of a field without a look-up.
struct TypePlan;
struct FieldPlan {
  const FieldDescriptor* field = nullptr;  // none: unknown
  int bound = kNoBound;
  const TypePlan* message = nullptr;
};
struct TypePlan {
  std::vector<FieldPlan> by_number;  // small numbers all

  FieldPlan FieldOf(uint32_t tag) const {
    const auto number = static_cast<size_t>(WireFormatLite::GetTagFieldNumber(tag));
    return number < by_number.size() ? by_number[number] : FieldPlan{};
  }
};

// A plan for every request of the API and its submessages. Built once.
class Plans {
 public:
  static const TypePlan& Of(const Descriptor& type) {
    static const Plans* const plans = new Plans;
    const auto found = plans->types_.find(&type);
    CHECK(found != plans->types_.end());
    return *found->second;
  }

 private:
  Plans() {
    for (const FileDescriptor* file :
         {v1::GenerateRequest::descriptor()->file(), v1::AbortRequest::descriptor()->file(),
          v1::GetModelRequest::descriptor()->file(), vllm::grpc::engine::GenerateRequest::descriptor()->file(),
          smg::grpc::common::FlushCacheRequest::descriptor()->file()}) {
      for (int i = 0; i < file->message_type_count(); ++i) Add(*file->message_type(i));
    }
  }

  const TypePlan* Add(const Descriptor& type) {
    std::unique_ptr<TypePlan>& plan = types_[&type];
    if (plan != nullptr) return plan.get();
    plan = std::make_unique<TypePlan>();
    TypePlan& made = *plan;  // the map may move its pointers
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor* field = type.field(i);
      const auto number = static_cast<size_t>(field->number());
      if (made.by_number.size() <= number) made.by_number.resize(number + 1);
      const TypePlan* message = field->message_type() == nullptr ? nullptr : Add(*field->message_type());
      made.by_number[number] = {field, field->is_repeated() ? BoundIndexOf(*field) : kNoBound, message};
    }
    return &made;
  }

  std::map<const Descriptor*, std::unique_ptr<TypePlan>> types_;
};

// Where in the message the walk is.
struct Place {
  const FieldDescriptor* field = nullptr;  // none at the root
  size_t entry = 0;
  const Place* outer = nullptr;

  std::string Path(std::string_view inner) const {
    if (field == nullptr) return std::string(inner);
    const std::string here =
        field->is_repeated() ? absl::StrFormat("%s[%d]", field->name(), entry) : std::string(field->name());
    return outer->Path(absl::StrFormat("%s.%s", here, inner));
  }
};

class EntryCounter {
 public:
  EntryCounter(CodedInputStream& input, const ModelBounds& model) : input_(input), model_(model) {}

  // Entries of a list of the request itself.
  size_t CountOf(const FieldDescriptor& list) {
    Walk(Plans::Of(*list.containing_type()), Place{});
    return counts_[static_cast<size_t>(BoundIndexOf(list))];
  }

  absl::Status Count(const Descriptor& type) {
    Walk(Plans::Of(type), Place{});
    if (unknown_bytes_ > kMaxUnknownBytes) {
      return InvalidField("", absl::StrFormat("expected at most %d bytes of fields that this server does not know, "
                                              "found %d",
                                              kMaxUnknownBytes, unknown_bytes_));
    }
    if (exceeded_ == kNoBound) return absl::OkStatus();
    const Bound& bound = kBounds[static_cast<size_t>(exceeded_)];
    const size_t found = counts_[static_cast<size_t>(exceeded_)];
    if (bound.kind == Most::kContext) return ContextLengthExceeded(path_, found, 0, bound.For(model_));
    return InvalidField(path_, TooManyEntries(found, bound.For(model_)));
  }

 private:
  // False where the bytes are no message.
  bool Walk(const TypePlan& type, const Place& place) {
    while (true) {
      const int begin = input_.CurrentPosition();
      const uint32_t tag = input_.ReadTag();
      if (tag == 0) return input_.ConsumedEntireMessage();
      const FieldPlan plan = type.FieldOf(tag);
      const auto wire_type = WireFormatLite::GetTagWireType(tag);
      const bool is_sized = wire_type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
      const bool is_packed = is_sized && plan.field != nullptr && plan.field->is_packable();
      if (plan.field == nullptr || (!is_packed && wire_type != WireTypeOf(*plan.field))) {
        if (!WireFormatLite::SkipField(&input_, tag)) return false;
        unknown_bytes_ += static_cast<size_t>(input_.CurrentPosition() - begin);
      } else if (is_packed) {
        if (!CountPacked(plan, place)) return false;
      } else {
        AddEntries(plan, 1, place);
        if (plan.message == nullptr ? !WireFormatLite::SkipField(&input_, tag) : !WalkInto(plan, place)) return false;
      }
    }
  }

  static WireFormatLite::WireType WireTypeOf(const FieldDescriptor& field) {
    return WireFormatLite::WireTypeForFieldType(static_cast<WireFormatLite::FieldType>(field.type()));
  }

  bool WalkInto(const FieldPlan& plan, const Place& place) {
    const size_t entry = plan.bound == kNoBound ? 0 : counts_[static_cast<size_t>(plan.bound)] - 1;
    const CodedInputStream::Limit limit = input_.ReadLengthAndPushLimit();
    const bool is_whole = Walk(*plan.message, {.field = plan.field, .entry = entry, .outer = &place});
    input_.PopLimit(limit);
    return is_whole;
  }

  // Each varint ends in the one byte of it that is below 0x80. All packed fields of the API are varints.
  bool CountPacked(const FieldPlan& plan, const Place& place) {
    uint32_t size = 0;
    if (!input_.ReadVarint32(&size)) return false;
    while (size > 0) {
      const void* bytes = nullptr;
      int available = 0;
      if (!input_.GetDirectBufferPointer(&bytes, &available)) return false;
      const auto count = std::min(static_cast<size_t>(available), static_cast<size_t>(size));
      const auto* begin = static_cast<const uint8_t*>(bytes);
      const auto entries = std::count_if(begin, begin + count, [](uint8_t byte) { return byte < 0x80; });
      AddEntries(plan, static_cast<size_t>(entries), place);
      if (!input_.Skip(static_cast<int>(count))) return false;
      size -= static_cast<uint32_t>(count);
    }
    return true;
  }

  void AddEntries(const FieldPlan& plan, size_t entries, const Place& place) {
    if (plan.bound == kNoBound) return;
    size_t& count = counts_[static_cast<size_t>(plan.bound)];
    count += entries;
    if (exceeded_ != kNoBound || count <= kBounds[static_cast<size_t>(plan.bound)].For(model_)) return;
    exceeded_ = plan.bound;
    path_ = place.Path(plan.field->name());
  }

  CodedInputStream& input_;
  const ModelBounds& model_;
  std::array<size_t, kBounds.size()> counts_{};
  size_t unknown_bytes_ = 0;
  int exceeded_ = kNoBound;
  std::string path_;
};

}  // namespace

ModelBounds BoundsOf(const v1::Model& model) {
  return {.vocab_size = model.vocab_size(), .max_context_tokens = model.limits().max_context_tokens()};
}

std::optional<size_t> MaxEntriesOf(const FieldDescriptor& field, const ModelBounds& model) {
  const int index = BoundIndexOf(field);
  if (index == kNoBound) return std::nullopt;
  return kBounds[static_cast<size_t>(index)].For(model);
}

absl::Status CheckEntries(MessageBytes bytes, const Descriptor& type, const ModelBounds& model) {
  MessageReader reader(bytes);
  CodedInputStream input(&reader);
  return EntryCounter(input, model).Count(type);
}

size_t CountEntries(MessageBytes bytes, const FieldDescriptor& list) {
  CHECK(BoundIndexOf(list) != kNoBound);
  MessageReader reader(bytes);
  CodedInputStream input(&reader);
  const ModelBounds any;
  return EntryCounter(input, any).CountOf(list);
}

}  // namespace latentd
