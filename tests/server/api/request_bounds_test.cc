// Every list of every request at and beyond its bound, found by reflection: a new field without a bound fails. What a
// refusal costs is counted in bytes of the heap.
#include "server/api/request_bounds.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include "latentd/v1/admin.pb.h"
#include "latentd/v1/generation.pb.h"
#include "server/api/request_validation.h"
#include "server/api/status.h"
#include "server/api/wire_message.h"
#include "smg/vllm_engine.pb.h"
#include "tests/server/api/request_bytes.h"
#include "tests/support/allocation_count.h"

namespace latentd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;
using ::testing::HasSubstr;

constexpr size_t kMessageBytes = 4 << 20;  // what gRPC lets through
constexpr size_t kSomeBytes = 192 << 10;   // of a refusal, whatever the size of the message
constexpr ModelBounds kBounds{.vocab_size = 4096, .max_context_tokens = 2048};

std::vector<const Descriptor*> RequestTypes() {
  std::vector<const Descriptor*> types;
  for (const FileDescriptor* file :
       {v1::GenerateRequest::descriptor()->file(), v1::AbortRequest::descriptor()->file(),
        v1::Model::descriptor()->file(), vllm::grpc::engine::GenerateRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) {
        types.push_back(file->service(i)->method(j)->input_type());
      }
    }
  }
  return types;
}

void AddLists(const Descriptor& type, const FieldPath& outer, std::vector<FieldPath>& lists) {
  for (int i = 0; i < type.field_count(); ++i) {
    FieldPath path = outer;
    path.push_back(type.field(i));
    if (type.field(i)->is_repeated()) lists.push_back(path);
    if (type.field(i)->message_type() != nullptr) AddLists(*type.field(i)->message_type(), path, lists);
  }
}

std::vector<FieldPath> ListsOf(const Descriptor& type) {
  std::vector<FieldPath> lists;
  AddLists(type, {}, lists);
  return lists;
}

// A request with so many of the smallest entries of this list, or of its one entry's list.
std::string BytesOfList(const FieldPath& path, size_t count) {
  const FieldDescriptor& list = *path.back();
  std::string bytes;
  if (list.is_packable()) {
    bytes = Sized(list, std::string(count, '\0'));
  } else {
    const std::string entry = Sized(list, "");
    bytes.reserve(entry.size() * count);
    for (size_t i = 0; i < count; ++i) bytes += entry;
  }
  return Within(path, std::move(bytes));
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  const google::rpc::BadRequest bad = ViolationsOf(status);
  std::vector<std::string> fields;
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  return fields;
}

void ForEachList(const std::function<void(const Descriptor&, const FieldPath&, size_t most)>& body) {
  size_t num_lists = 0;
  for (const Descriptor* type : RequestTypes()) {
    for (const FieldPath& path : ListsOf(*type)) {
      SCOPED_TRACE(TextOf(path));
      const std::optional<size_t> most = MaxEntriesOf(*path.back(), kBounds);
      ASSERT_TRUE(most) << "has no bound: give it one in server/api/request_bounds.cc";
      body(*type, path, *most);
      ++num_lists;
    }
  }
  EXPECT_GT(num_lists, 20u);
}

TEST(RequestBounds, EveryListHasABoundAndIsRefusedBeyondIt) {
  ForEachList([](const Descriptor& type, const FieldPath& path, size_t most) {
    EXPECT_EQ(CheckEntries(BufferOf(BytesOfList(path, most)), type, kBounds).message(), "");
    const absl::Status status = CheckEntries(BufferOf(BytesOfList(path, most + 1)), type, kBounds);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path.back()->name()));
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::to_string(most + 1)));
    EXPECT_EQ(FieldsOf(status).size(), 1u);
  });
}

TEST(RequestBounds, AMessageFullOfEntriesIsRefusedBeforeItIsParsed) {
  ForEachList([](const Descriptor& type, const FieldPath& path, size_t most) {
    const size_t entry_bytes = path.back()->is_packable() ? 1 : 2;
    if (kMessageBytes / entry_bytes <= most) return;
    const MessageBuffer bytes = BufferOf(BytesOfList(path, kMessageBytes / entry_bytes));
    const std::unique_ptr<Message> message(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type)->New());
    const AllocationCount count;
    EXPECT_FALSE(ParseMessage(bytes, kBounds, message.get()).ok());
    EXPECT_LT(count.peak_bytes(), kSomeBytes);
    EXPECT_LT(count.num_allocations(), 300u);
  });
}

// Lists count together wherever they stand: a group that is sent twice is one, and calls are counted over all messages.
TEST(RequestBounds, ListsInPiecesCountAsOne) {
  const auto& type = *v1::GenerateRequest::descriptor();
  v1::GenerateRequest piece;
  piece.set_text("Once");
  for (int i = 0; i < 9; ++i) piece.mutable_stopping()->add_stop("x");
  const std::string bytes = piece.SerializeAsString();
  EXPECT_TRUE(CheckEntries(BufferOf(bytes), type, kBounds).ok());
  EXPECT_EQ(CheckEntries(BufferOf(bytes + bytes), type, kBounds).message(),
            "stopping.stop: expected at most 16 entries, found 18");

  v1::ChatRequest chat;
  constexpr size_t kCalls = 128;
  for (size_t i = 0; i <= kMaxToolCallsInAll / kCalls; ++i) {
    v1::ChatMessage* message = chat.add_messages();
    for (size_t j = 0; j < kCalls; ++j) message->add_tool_calls()->set_name("f");
  }
  EXPECT_EQ(CheckEntries(BufferOf(chat.SerializeAsString()), *v1::ChatRequest::descriptor(), kBounds).message(),
            "messages[128].tool_calls: expected at most 16384 entries, found 16512");
}

TEST(RequestBounds, UnpackedIdsCountToo) {
  std::string bytes;
  for (int i = 0; i < 129; ++i) bytes += "\x20\x07";  // stop_token_ids = 7
  const std::string request = Sized(*v1::GenerateRequest::descriptor()->FindFieldByName("stopping"), bytes);
  EXPECT_EQ(CheckEntries(BufferOf(request), *v1::GenerateRequest::descriptor(), kBounds).message(),
            "stopping.stop_token_ids: expected at most 128 entries, found 129");
}

TEST(RequestBounds, PromptOfTooManyIdsIsTheContextsFault) {
  v1::ScoreRequest request;
  for (uint32_t i = 0; i <= kBounds.max_context_tokens; ++i) request.mutable_token_ids()->add_ids(300);
  v1::ScoreRequest received;
  const absl::Status status = ParseMessage(BufferOf(request.SerializeAsString()), kBounds, &received);
  EXPECT_EQ(ReasonOf(status), "CONTEXT_LENGTH_EXCEEDED");
  EXPECT_EQ(FieldsOf(status), std::vector<std::string>{"token_ids.ids"});
}

TEST(RequestBounds, UnknownFieldsAreTakenInModeration) {
  const auto& type = *v1::GenerateRequest::descriptor();
  const std::string some = "\xf8\x3f\x01";  // field 1023, a varint
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += some;
  EXPECT_TRUE(CheckEntries(BufferOf(bytes), type, kBounds).ok());
  while (bytes.size() < kMaxUnknownBytes + some.size()) bytes += some;
  EXPECT_THAT(std::string(CheckEntries(BufferOf(bytes), type, kBounds).message()), HasSubstr("does not know"));
  // A known field in another form is unknown, too.
  bytes = "\x0a\x01x";
  for (size_t i = 0; i <= kMaxUnknownBytes / 2; ++i) bytes += "\x08\x01";  // text as a varint
  EXPECT_THAT(std::string(CheckEntries(BufferOf(bytes), type, kBounds).message()), HasSubstr("does not know"));
}

TEST(RequestBounds, MessagesInSlicesAreCountedAcrossThem) {
  v1::GenerateRequest request;
  for (int i = 0; i < 20; ++i) request.mutable_stopping()->add_stop("a stop string of some length");
  for (int i = 0; i < 20; ++i) request.mutable_stopping()->add_stop_token_ids(4000);
  const MessageBuffer pieces = PiecesOf(request.SerializeAsString(), 7);
  EXPECT_EQ(CheckEntries(pieces, *v1::GenerateRequest::descriptor(), kBounds).message(),
            "stopping.stop: expected at most 16 entries, found 20");
}

// ------------------------------------------------------------------------------------- entries that are all wrong

struct WrongEntries {
  const char* name;
  std::function<void(v1::GenerateRequest&)> fill;
};

// Within their counts, every entry wrong: no more is made of them than a status tells, nor more memory taken than the
// message has.
TEST(Refusals, AtMostSixteenViolationsAreMade) {
  const WrongEntries cases[] = {
      {"ids beyond the vocabulary",
       [](auto& r) {
         for (uint32_t i = 0; i < kBounds.vocab_size; ++i) r.mutable_sampling()->add_allowed_token_ids(~i);
       }},
      {"prompt ids beyond it",
       [](auto& r) {
         for (uint32_t i = 0; i < kBounds.max_context_tokens; ++i) r.mutable_token_ids()->add_ids(~i);
       }},
      {"biases without measure",
       [](auto& r) {
         for (uint32_t i = 0; i < kMaxLogitBiases; ++i) (*r.mutable_sampling()->mutable_logit_bias())[i] = 1e38f;
       }},
      {"long bad words",
       [](auto& r) {
         for (size_t i = 0; i < kMaxBadWords; ++i) r.mutable_sampling()->add_bad_words(std::string(30'000, 'x'));
       }},
      {"stop ids beyond the vocabulary",
       [](auto& r) {
         for (size_t i = 0; i < kMaxStopTokenIds; ++i) r.mutable_stopping()->add_stop_token_ids(~0u);
       }},
  };
  const v1::Model model = ModelWith(kBounds);
  for (const WrongEntries& wrong : cases) {
    SCOPED_TRACE(wrong.name);
    v1::GenerateRequest request;
    request.set_text("Once");
    wrong.fill(request);
    const AllocationCount count;
    const absl::Status status = CheckFields(request, model);
    EXPECT_LT(count.peak_bytes(), kSomeBytes);
    EXPECT_LT(count.num_allocations(), 1000u);
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD");
    EXPECT_GE(FieldsOf(status).size(), 8u);
    EXPECT_LE(FieldsOf(status).size(), kMaxViolations);
  }
}

TEST(Refusals, MessagesAndToolsThatAreAllWrong) {
  const v1::Model model = ModelWith(kBounds);
  const auto expect_small = [&](const v1::ChatRequest& request) {
    const AllocationCount count;
    const absl::Status status = CheckFields(request, model);
    EXPECT_LT(count.peak_bytes(), kSomeBytes);
    EXPECT_LT(count.num_allocations(), 2000u);
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD");
    EXPECT_LE(FieldsOf(status).size(), kMaxViolations);
  };
  v1::ChatRequest request;
  for (size_t i = 0; i < kMaxMessages; ++i) request.add_messages()->set_role(std::string(1000, 'x'));
  expect_small(request);
  request.clear_messages();
  request.add_messages()->set_role("user");
  for (size_t i = 0; i < kMaxTools; ++i) request.add_tools()->set_name(std::string(30'000, 'x'));
  expect_small(request);
  request.clear_tools();
  for (size_t i = 0; i < kMaxVariables; ++i) {
    const std::string name = std::to_string(i) + std::string(60'000, 'x');
    (*request.mutable_template_options()->mutable_variables_json())[name] = "{";
  }
  expect_small(request);
}

}  // namespace
}  // namespace latentd
