// Every number of every request of Generation at and beyond its edges, found by reflection: a new field without a row
// fails. What is refused is told in few bytes and with the number as it came. What is accepted runs: on the bundled
// model field by field, and drawn together on logits as large and small as floats are. No row may be non-finite, no
// answer larger than it was announced.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/answer_limit.h"
#include "server/api/request_validation.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"
#include "server/grpc/grpc_status.h"
#include "tests/server/api/finite_answers.h"
#include "tests/server/api/request_bytes.h"
#include "tests/support/allocation_count.h"

namespace latentd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// Holds each number of each type of field.
using Number = long double;

constexpr ModelBounds kBounds = {.vocab_size = kRunVocabulary, .max_context_tokens = kRunContext};
constexpr size_t kSomeBytes = 64 << 10;  // of a refusal

// What generation.proto says.
struct NumberRow {
  std::string_view field;
  Number lowest;
  Number highest;
  bool is_above_lowest = false;

  bool Holds(Number number) const {
    return (is_above_lowest ? number > lowest : number >= lowest) && number <= highest;
  }
};
constexpr NumberRow kRows[] = {
    {"latentd.v1.TokenIds.ids", 0, kRunVocabulary - 1},
    {"latentd.v1.Sampling.temperature", 0, 100},
    {"latentd.v1.Sampling.top_p", 0, 1, true},
    {"latentd.v1.Sampling.top_k", 0, 2147483647},
    {"latentd.v1.Sampling.min_p", 0, 1},
    {"latentd.v1.Sampling.presence_penalty", -2, 2},
    {"latentd.v1.Sampling.frequency_penalty", -2, 2},
    {"latentd.v1.Sampling.repetition_penalty", 0, 100, true},
    {"latentd.v1.Sampling.LogitBiasEntry.key", 0, kRunVocabulary - 1},
    {"latentd.v1.Sampling.LogitBiasEntry.value", -100, 100},
    {"latentd.v1.Sampling.allowed_token_ids", 0, kRunVocabulary - 1},
    {"latentd.v1.Sampling.seed", 0, 18446744073709551615.0L},
    {"latentd.v1.Sampling.n", 1, 64},
    {"latentd.v1.Stopping.max_tokens", 1, kRunContext},
    {"latentd.v1.Stopping.min_tokens", 0, kRunContext},
    {"latentd.v1.Stopping.stop_token_ids", 0, kRunVocabulary - 1},
    {"latentd.v1.Output.logprobs", 0, 32},
    {"latentd.v1.Output.prompt_logprobs", 0, 32},
    {"latentd.v1.Cache.keep_for.seconds", 0, 86400},
    {"latentd.v1.Cache.keep_for.nanos", 0, 999999999},
    {"latentd.v1.Scheduling.priority", -8, 8},
    {"latentd.v1.Speculation.max_drafts", 0, 8},
    {"google.protobuf.Duration.seconds", 1, 86400},
    {"google.protobuf.Duration.nanos", 1, 999999999},
    {"latentd.v1.ScoreRequest.top_logprobs", 0, 32},
    {"latentd.v1.DetokenizeRequest.token_ids", 0, kRunVocabulary - 1},
    {"latentd.v1.ToolChoice.mode", 1, 3},
};

const NumberRow* FindRow(const std::string& name) {
  const auto row =
      std::find_if(std::begin(kRows), std::end(kRows), [&](const NumberRow& r) { return r.field == name; });
  return row == std::end(kRows) ? nullptr : row;
}

// A message may mean something else in one field than in others.
const NumberRow* RowOf(const FieldPath& path) {
  if (path.size() > 1) {
    const NumberRow* row = FindRow(path[path.size() - 2]->full_name() + "." + path.back()->name());
    if (row != nullptr) return row;
  }
  return FindRow(path.back()->full_name());
}

bool IsNumber(const FieldDescriptor& field) {
  return field.message_type() == nullptr && field.cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
         field.cpp_type() != FieldDescriptor::CPPTYPE_BOOL;
}

void AddNumbers(const Descriptor& type, const FieldPath& outer, std::vector<FieldPath>& numbers) {
  for (int i = 0; i < type.field_count(); ++i) {
    FieldPath path = outer;
    path.push_back(type.field(i));
    if (IsNumber(*type.field(i))) numbers.push_back(path);
    if (type.field(i)->message_type() != nullptr) AddNumbers(*type.field(i)->message_type(), path, numbers);
  }
}

// ------------------------------------------------------------------------------------------------------- the draws

template <class Integer>
std::vector<Number> IntegersAround(const NumberRow& row) {
  constexpr Number kLeast = std::numeric_limits<Integer>::min();
  constexpr Number kMost = std::numeric_limits<Integer>::max();
  std::set<Number> draws = {0, 1, -1, kLeast, kLeast + 1, kMost - 1, kMost};
  for (const Number bound : {row.lowest, row.highest}) draws.insert({bound - 1, bound, bound + 1});
  std::vector<Number> held;
  std::copy_if(draws.begin(), draws.end(), std::back_inserter(held),
               [](Number n) { return n >= kLeast && n <= kMost; });
  return held;
}

std::vector<Number> FloatsAround(const NumberRow& row) {
  using Limits = std::numeric_limits<float>;
  std::vector<Number> draws = {Limits::quiet_NaN()};
  const auto add_both = [&](float number) { draws.insert(draws.end(), {number, -number}); };
  for (const float number : {0.0f, 1.0f, Limits::denorm_min(), std::nextafter(Limits::min(), 0.0f), Limits::min(),
                             1e-38f, Limits::epsilon(), 0.5f, 1e38f, Limits::max(), Limits::infinity()}) {
    add_both(number);
  }
  for (const Number bound : {row.lowest, row.highest}) {
    const auto at = static_cast<float>(bound);
    add_both(at);
    add_both(std::nextafter(at, Limits::infinity()));
    add_both(std::nextafter(at, -Limits::infinity()));
  }
  return draws;
}

std::vector<Number> DrawsOf(const FieldDescriptor& field, const NumberRow& row) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_ENUM:
      return IntegersAround<int32_t>(row);
    case FieldDescriptor::CPPTYPE_INT64:
      return IntegersAround<int64_t>(row);
    case FieldDescriptor::CPPTYPE_UINT32:
      return IntegersAround<uint32_t>(row);
    case FieldDescriptor::CPPTYPE_UINT64:
      return IntegersAround<uint64_t>(row);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return FloatsAround(row);
    default:
      ADD_FAILURE() << field.full_name() << ": expected a type that the test can draw";
      return {};
  }
}

std::string BytesOf(const FieldPath& path, Number number) {
  const auto tag = static_cast<uint64_t>(path.back()->number()) << 3;
  if (path.back()->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
    const auto value = static_cast<float>(number);
    std::string bytes(sizeof(value), '\0');
    std::memcpy(bytes.data(), &value, sizeof(value));
    return Within(path, Varint(tag | 5) + bytes);
  }
  const auto value = number < 0 ? static_cast<uint64_t>(static_cast<int64_t>(number)) : static_cast<uint64_t>(number);
  return Within(path, Varint(tag) + Varint(value));
}

// ---------------------------------------------------------------------------------------------------- the requests

// One of the requests of Generation: what the draws are added to, and what the daemon makes of it.
struct RequestKind {
  const Descriptor* type;
  std::string base;
  std::function<absl::StatusOr<ValidRequest>(const std::string& bytes)> admit;  // OK and empty where nothing runs
};

template <class Message>
absl::StatusOr<Message> Checked(const std::string& bytes) {
  Message message;
  if (absl::Status status = ParseMessage(BufferOf(bytes), kBounds, &message); !status.ok()) return status;
  if (absl::Status status = CheckFields(message, ModelWith(kBounds)); !status.ok()) return status;
  return message;
}

EncodedPrompt SomePrompt() { return {.field = "prompt", .ids = {0, 300, 301}}; }

template <class Message>
absl::StatusOr<ValidRequest> AdmitRun(const std::string& bytes) {
  const absl::StatusOr<Message> message = Checked<Message>(bytes);
  if (!message.ok()) return message.status();
  return MakeRequest(*message, ModelWith(kBounds), SomePrompt(), TimePoint{});
}

absl::StatusOr<ValidRequest> AdmitChat(const std::string& bytes) {
  const auto message = Checked<v1::ChatRequest>(bytes);
  if (!message.ok()) return message.status();
  return MakeRequest(GroupsOf(*message), ModelWith(kBounds), SomePrompt(), TimePoint{});
}

template <class Message>
absl::StatusOr<ValidRequest> AdmitOther(const std::string& bytes) {
  const absl::StatusOr<Message> message = Checked<Message>(bytes);
  if (!message.ok()) return message.status();
  return ValidRequest();
}

template <class Chat>
void AddConversation(Chat& chat) {
  chat.add_messages()->set_role("user");
  chat.add_tools()->set_name("look");
}

std::vector<RequestKind> Kinds() {
  v1::GenerateRequest generate;
  generate.set_text("Once");
  v1::ScoreRequest score;
  score.set_text("Once upon");
  v1::ChatRequest chat;
  AddConversation(chat);
  v1::TokenizeRequest tokenize;
  AddConversation(*tokenize.mutable_chat());
  const v1::DetokenizeRequest detokenize;
  return {
      {generate.GetDescriptor(), generate.SerializeAsString(), AdmitRun<v1::GenerateRequest>},
      {chat.GetDescriptor(), chat.SerializeAsString(), AdmitChat},
      {score.GetDescriptor(), score.SerializeAsString(), AdmitRun<v1::ScoreRequest>},
      {tokenize.GetDescriptor(), tokenize.SerializeAsString(), AdmitOther<v1::TokenizeRequest>},
      {detokenize.GetDescriptor(), detokenize.SerializeAsString(), AdmitOther<v1::DetokenizeRequest>},
  };
}

struct Draw {
  const RequestKind& kind;
  const FieldPath& path;
  const NumberRow& row;
  Number number;
};

void ForEachDraw(const std::function<void(const Draw&)>& body) {
  for (const RequestKind& kind : Kinds()) {
    std::vector<FieldPath> numbers;
    AddNumbers(*kind.type, {}, numbers);
    for (const FieldPath& path : numbers) {
      SCOPED_TRACE(TextOf(path));
      const NumberRow* row = RowOf(path);
      ASSERT_NE(row, nullptr) << "has no row: say what generation.proto says of it";
      for (const Number number : DrawsOf(*path.back(), *row)) {
        SCOPED_TRACE(static_cast<double>(number));
        body({.kind = kind, .path = path, .row = *row, .number = number});
      }
    }
  }
}

// That number, read from a message as the type of the field.
Number ReadAs(const FieldDescriptor& field, const std::string& text) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT ? Number{std::strtof(text.c_str(), nullptr)}
                                                            : std::strtold(text.c_str(), nullptr);
}

void ExpectRefusal(const absl::Status& status, const Draw& draw) {
  EXPECT_EQ(ReasonOf(status), "INVALID_FIELD") << status;
  const google::rpc::BadRequest bad = ViolationsOf(status);
  ASSERT_GE(bad.field_violations_size(), 1);
  EXPECT_LE(static_cast<size_t>(bad.field_violations_size()), kMaxViolations);
  const std::string& description = bad.field_violations(0).description();
  const size_t found = description.rfind("found ");
  ASSERT_NE(found, std::string::npos) << description;
  const Number read = ReadAs(*draw.path.back(), description.substr(found + 6));
  EXPECT_TRUE(read == draw.number || (std::isnan(read) && std::isnan(draw.number)))
      << description << " is what other numbers look like, too";
  const grpc::Status sent = ToGrpcStatus(status);
  EXPECT_LT(sent.error_message().size() + sent.error_details().size() * 4 / 3, kMaxStatusBytes);
}

TEST(NumberBounds, EveryRequestIsDrawn) {
  std::set<const Descriptor*> drawn, served;
  for (const RequestKind& kind : Kinds()) drawn.insert(kind.type);
  const auto* service = v1::GenerateRequest::descriptor()->file()->FindServiceByName("Generation");
  for (int i = 0; i < service->method_count(); ++i) served.insert(service->method(i)->input_type());
  EXPECT_EQ(drawn, served);
  std::set<std::string_view> met;
  ForEachDraw([&](const Draw& draw) { met.insert(draw.row.field); });
  EXPECT_EQ(met.size(), std::size(kRows)) << "a row that no field has";
}

TEST(NumberBounds, WithinItsRangeAndNowhereElse) {
  // Protobuf makes its reflection of a message when it is first used, once in the life of the process.
  ForEachDraw(
      [](const Draw& draw) { static_cast<void>(draw.kind.admit(draw.kind.base + BytesOf(draw.path, draw.number))); });
  size_t num_refused = 0;
  ForEachDraw([&](const Draw& draw) {
    const std::string bytes = draw.kind.base + BytesOf(draw.path, draw.number);
    const AllocationCount count;
    const absl::Status status = draw.kind.admit(bytes).status();
    if (draw.row.Holds(draw.number)) {
      const bool is_accepted =
          status.ok() || ReasonOf(status) == "UNSUPPORTED_FEATURE" || ReasonOf(status) == "CONTEXT_LENGTH_EXCEEDED";
      EXPECT_TRUE(is_accepted) << status;
      return;
    }
    EXPECT_LT(count.peak_bytes(), kSomeBytes);
    EXPECT_LT(count.num_allocations(), 300u);
    ExpectRefusal(status, draw);
    ++num_refused;
  });
  EXPECT_GT(num_refused, 300u);
}

TEST(NumberBounds, WhateverIsAcceptedGivesFiniteRows) {
  std::vector<ValidRequest> accepted;
  ForEachDraw([&](const Draw& draw) {
    absl::StatusOr<ValidRequest> valid = draw.kind.admit(draw.kind.base + BytesOf(draw.path, draw.number));
    if (valid.ok() && !valid->request.prompt.empty()) accepted.push_back(*std::move(valid));
  });
  EXPECT_GT(accepted.size(), 200u);
  BundledModel model;
  ExpectFiniteAnswers(model.executor(), std::move(accepted));
}

TEST(NumberBounds, WhateverIsAcceptedTogetherGivesFiniteRows) {
  constexpr uint32_t kSeed = 20;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  std::vector<std::string> fields;
  const RequestKind generate = Kinds().front();
  ForEachDraw([&](const Draw& draw) {
    const std::string bytes = BytesOf(draw.path, draw.number);
    if (draw.kind.type == generate.type && generate.admit(generate.base + bytes).ok()) fields.push_back(bytes);
  });
  std::vector<ValidRequest> accepted;
  constexpr int kDraws = 2000;
  for (int i = 0; i < kDraws; ++i) {
    std::string bytes = generate.base;
    for (auto left = 2 + random() % 8; left > 0; --left) bytes += fields[random() % fields.size()];
    absl::StatusOr<ValidRequest> valid = generate.admit(bytes);
    if (valid.ok()) accepted.push_back(*std::move(valid));
  }
  EXPECT_GT(accepted.size(), kDraws / 2u);
  EdgeLogits logits(kSeed);
  ExpectFiniteAnswers(logits, std::move(accepted));
}

}  // namespace
}  // namespace latentd
