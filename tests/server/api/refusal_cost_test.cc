// What a large request that is refused takes from the heap, parsed message included: no more than three times its
// bytes, whatever is wrong with it. Counted in bytes.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/drawable_tokens.h"
#include "server/api/request_validation.h"
#include "server/api/wire_message.h"
#include "tests/server/api/chat_input.h"
#include "tests/server/api/request_bytes.h"
#include "tests/support/allocation_count.h"

namespace latentd {
namespace {

using google::protobuf::FieldDescriptor;

constexpr ModelBounds kBounds = {.vocab_size = 129'280, .max_context_tokens = 131'072};
constexpr size_t kMessageBytes[] = {1 << 20, (4 << 20) - 1024};
constexpr size_t kMostJsonBytes = 1 << 20;  // of one text
constexpr size_t kSomeBytes = 64 << 10;     // of a refusal, whatever the size of the message

template <class Message>
absl::Status Refusal(MessageBytes bytes, const v1::Model& model) {
  Message message;
  if (absl::Status status = ParseMessage(bytes, kBounds, &message); !status.ok()) return status;
  return CheckFields(message, model);
}

template <class Message>
void ExpectCheap(const std::string& message) {
  const v1::Model model = ModelWith(kBounds);
  const MessageBuffer bytes = BufferOf(message);
  const AllocationCount count;
  const absl::Status status = Refusal<Message>(bytes, model);
  EXPECT_LE(count.peak_bytes(), 3 * message.size() + kSomeBytes)
      << static_cast<double>(count.peak_bytes()) / static_cast<double>(message.size()) << " times";
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

// -------------------------------------------------------------------------------------------------------- JSON text

struct WrongJson {
  const char* name;
  std::string begin;
  std::string again;
  std::string end;

  std::string OfBytes(size_t num_bytes) const {
    std::string text = begin;
    while (text.size() + again.size() + end.size() <= num_bytes) text += again;
    return text + end;
  }
};

const WrongJson kWrongJson[] = {
    {"a list that is not closed", "[1", ",1", ""},
    {"a list of lists that is not closed", "[[]", ",[]", ""},
    {"an object that is not closed", R"({"a":0)", R"(,"a":1)", ""},
    {"a text that is not closed", "\"", "abcd", ""},
    {"escapes that are not closed", "\"", "\\u00e9", ""},
    {"something behind a text", "\"", "abcd", "\" x"},
    {"something behind a number", "1", "2", "x"},
    {"nothing but openings", "", "[", ""},
    {"an endless name", R"({")", "name", ""},
    {"white space", "", " ", ""},
};

TEST(RefusalCost, VariablesThatAreNoJson) {
  for (const size_t num_bytes : kMessageBytes) {
    for (const WrongJson& wrong : kWrongJson) {
      SCOPED_TRACE(wrong.name);
      v1::ChatRequest request;
      request.add_messages()->set_role("user");
      const size_t num_texts = num_bytes / kMostJsonBytes + 1;
      for (size_t i = 0; i < num_texts; ++i) {
        (*request.mutable_template_options()->mutable_variables_json())["v" + std::to_string(i)] =
            wrong.OfBytes(num_bytes / num_texts - 64);
      }
      ExpectCheap<v1::ChatRequest>(request.SerializeAsString());
    }
  }
}

TEST(RefusalCost, ToolsThatAreNoJsonOrNoObject) {
  std::vector<WrongJson> cases(std::begin(kWrongJson), std::end(kWrongJson));
  cases.push_back({"a list", "[1", ",1", "]"});
  cases.push_back({"a list of objects", R"([{"a":0})", R"(,{"b":1})", "]"});
  for (const size_t num_bytes : kMessageBytes) {
    for (const WrongJson& wrong : cases) {
      SCOPED_TRACE(wrong.name);
      v1::TokenizeRequest request;
      request.mutable_chat()->add_messages()->set_role("user");
      const size_t num_texts = num_bytes / kMostJsonBytes + 1;
      for (size_t i = 0; i < num_texts; ++i) {
        v1::Tool* tool = request.mutable_chat()->add_tools();
        tool->set_name("t" + std::to_string(i));
        tool->set_parameters_json(wrong.OfBytes(num_bytes / num_texts - 64));
      }
      ExpectCheap<v1::TokenizeRequest>(request.SerializeAsString());
    }
  }
}

const WrongJson kManyValues[] = {
    {"numbers", R"({"a":[1)", ",1", "]}"},    {"lists", R"({"a":[[])", ",[]", "]}"},
    {"objects", R"({"a":[{})", ",{}", "]}"},  {"texts", R"({"a":[")", R"(","a)", R"("]})"},
    {"names", R"({"a":1)", R"(,"a":1)", "}"},
};

TEST(RefusalCost, ToolsOfTooManyValues) {
  for (const WrongJson& many : kManyValues) {
    SCOPED_TRACE(many.name);
    v1::ChatRequest request;
    request.add_messages()->set_role("user");
    for (int i = 0; i < 4; ++i) {
      request.add_tools()->set_name("t" + std::to_string(i));
      request.mutable_tools(i)->set_parameters_json(many.OfBytes(kMostJsonBytes - 1024));
    }
    ExpectCheap<v1::ChatRequest>(request.SerializeAsString());
  }
}

TEST(RefusalCost, ValuesOfAllTextsCountTogether) {
  v1::ChatRequest request;
  request.add_messages()->set_role("user");
  // An object, its name and its list are three.
  request.add_tools()->set_name("t");
  request.mutable_tools(0)->set_parameters_json(WrongJson{"", R"({"a":[)", "1,", "1]}"}.OfBytes(2 * 40'000));
  const size_t in_tool = (request.tools(0).parameters_json().size() - 8) / 2 + 1 + 3;
  std::string rest = "[1";
  for (size_t i = 2; i < kMaxJsonValues - in_tool; ++i) rest += ",1";
  (*request.mutable_template_options()->mutable_variables_json())["v"] = rest + "]";
  EXPECT_EQ(CheckFields(request, ModelWith(kBounds)).message(), "");
  (*request.mutable_template_options()->mutable_variables_json())["v"] = rest + ",1]";
  EXPECT_EQ(CheckFields(request, ModelWith(kBounds)).message(),
            "template_options.variables_json[v]: expected at most 65536 JSON values and names in all tools and "
            "variables, found 65537 up to here");
}

// They stay text, which a model may have written: whatever it wrote is taken back.
TEST(RefusalCost, ArgumentsOfTooManyValuesStayText) {
  ServedModel model = ModelWith(
      "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}"
      "{% for k, v in c.function.arguments.items() %}{{ k }}{{ v | tojson }}{% endfor %}{% endfor %}{% endfor %}");
  model.description = ModelWith({.vocab_size = 4096, .max_context_tokens = 2048});
  for (const WrongJson& many : kManyValues) {
    SCOPED_TRACE(many.name);
    v1::ChatInput chat;
    Add(chat, "user", "x");
    v1::ChatMessage& turn = *chat.add_messages();
    turn.set_role("assistant");
    for (int i = 0; i < 4; ++i) AddCall(turn, "f" + std::to_string(i), many.OfBytes(kMostJsonBytes - 1024));
    const AllocationCount count;
    const absl::Status status = EncodeChat(chat, "", model).status();
    EXPECT_FALSE(status.ok());
    EXPECT_LE(count.peak_bytes(), 5 * chat.ByteSizeLong())
        << static_cast<double>(count.peak_bytes()) / static_cast<double>(chat.ByteSizeLong()) << " times" << status;
  }
}

// ------------------------------------------------------------------------------------------------- lists of entries

// `num_bytes` of entries that `add` adds `most` of at most.
template <class Message>
void ExpectEntriesCheap(const char* name, size_t most, const std::function<void(Message&, const std::string&)>& add) {
  for (const size_t num_bytes : kMessageBytes) {
    SCOPED_TRACE(name);
    Message message;
    const std::string text(num_bytes / most, 'x');
    for (size_t i = 0; i < most; ++i) add(message, text);
    ExpectCheap<Message>(message.SerializeAsString());
  }
}

TEST(RefusalCost, ListsThatAreAllWrong) {
  using Generate = v1::GenerateRequest;
  using Chat = v1::ChatRequest;
  using Text = const std::string;
  ExpectEntriesCheap<Generate>("bad words", kMaxBadWords,
                               [](Generate& r, Text& text) { r.mutable_sampling()->add_bad_words(text); });
  ExpectEntriesCheap<Generate>("stop strings", kMaxStopStrings,
                               [](Generate& r, Text& text) { r.mutable_stopping()->add_stop(text); });
  ExpectEntriesCheap<Chat>("roles", kMaxMessages, [](Chat& r, Text& text) { r.add_messages()->set_role(text); });
  ExpectEntriesCheap<Chat>("names", kMaxMessages, [](Chat& r, Text& text) {
    r.add_messages()->set_role("user");
    r.mutable_messages()->rbegin()->set_name(text);
  });
  ExpectEntriesCheap<Chat>("tools", kMaxTools, [](Chat& r, Text& text) { r.add_tools()->set_name(text); });
  ExpectEntriesCheap<Chat>("calls", kMaxToolCallsInAll, [](Chat& r, Text& text) {
    if (r.messages().empty()) r.add_messages()->set_role("user");
    r.mutable_messages(0)->add_tool_calls()->set_arguments_json(text);
  });
  ExpectEntriesCheap<Chat>("parts", kMaxContentPartsInAll, [](Chat& r, Text& text) {
    if (r.messages().empty()) r.add_messages()->set_role("robot");
    r.mutable_messages(0)->add_content_parts()->set_text(text);
  });
}

TEST(RefusalCost, IdsThatAreAllWrong) {
  v1::GenerateRequest generate;
  for (uint32_t i = 0; i < kBounds.max_context_tokens; ++i) generate.mutable_token_ids()->add_ids(~i);
  for (uint32_t i = 0; i < kBounds.vocab_size; ++i) generate.mutable_sampling()->add_allowed_token_ids(~i);
  ExpectCheap<v1::GenerateRequest>(generate.SerializeAsString());
  v1::DetokenizeRequest detokenize;
  for (uint32_t i = 0; i < kMaxDetokenizedIds; ++i) detokenize.add_token_ids(kBounds.vocab_size);
  ExpectCheap<v1::DetokenizeRequest>(detokenize.SerializeAsString());
}

// ------------------------------------------------------------------------------------------------------- operations

// Masks are looked at twice at most, however many ids end the answer.
TEST(RefusalCost, MasksAreLinearInTheirLists) {
  v1::Model model = ModelWith(kBounds);
  v1::GenerateRequest request;
  for (uint32_t i = 0; i < kBounds.vocab_size; ++i) request.mutable_sampling()->add_allowed_token_ids(i);
  for (uint32_t i = 0; i < kMaxStopTokenIds; ++i) request.mutable_stopping()->add_stop_token_ids(i);
  for (uint32_t i = 0; i < kBounds.vocab_size; ++i) model.add_eos_token_ids(i);
  request.mutable_stopping()->set_min_tokens(1);
  size_t num_looks = 0;
  const auto looks = [&](bool is_token) {
    num_looks = 0;
    FieldChecks checks;
    const auto look = [&](int32_t) {
      ++num_looks;
      return is_token;
    };
    CheckSomethingCanBeDrawn(request, model, look, checks);
    EXPECT_FALSE(checks.Result().ok());
    return num_looks;
  };
  EXPECT_LE(looks(false), 2 * kBounds.vocab_size);
  EXPECT_LE(looks(true), 2 * kBounds.vocab_size);
  request.mutable_sampling()->clear_allowed_token_ids();
  EXPECT_LE(looks(false), kBounds.vocab_size);
}

}  // namespace
}  // namespace latentd
