#include "server/api/shared_fields.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/prompt.h"
#include "server/api/request_validation.h"

namespace latentd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Sets every field, down to the scalars.
void Fill(Message* message) {
  const auto& reflection = *message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (field->is_map()) continue;
        Fill(field->is_repeated() ? reflection.AddMessage(message, field) : reflection.MutableMessage(message, field));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection.SetBool(message, field, true);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        field->is_repeated() ? reflection.AddString(message, field, "x") : reflection.SetString(message, field, "x");
        break;
      default:
        break;  // the messages that are copied hold numbers deeper down
    }
  }
}

v1::ChatRequest FullChat() {
  v1::ChatRequest chat;
  Fill(&chat);
  chat.mutable_sampling()->set_top_k(3);
  (*chat.mutable_sampling()->mutable_logit_bias())[5] = 1.5f;
  return chat;
}

// Each field that `whole` has under the same name must be set in `part` to the same.
void ExpectCopied(const Message& whole, const Message& part, std::set<std::string>* names) {
  for (int i = 0; i < whole.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = whole.GetDescriptor()->field(i);
    const FieldDescriptor* copied = part.GetDescriptor()->FindFieldByName(field->name());
    if (copied == nullptr) continue;
    names->insert(field->name());
    if (field->is_repeated()) {
      EXPECT_EQ(part.GetReflection()->FieldSize(part, copied), 1) << field->name();
      continue;
    }
    EXPECT_TRUE(part.GetReflection()->HasField(part, copied)) << field->name();
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    EXPECT_EQ(part.GetReflection()->GetMessage(part, copied).SerializeAsString(),
              whole.GetReflection()->GetMessage(whole, field).SerializeAsString())
        << field->name();
  }
}

TEST(SharedFields, EveryFieldOfChatIsOneOfGeneratesOrOfTheConversationOrCheckedByHand) {
  const v1::ChatRequest chat = FullChat();
  std::set<std::string> handled = {"parallel_tool_calls"};  // refused where it is false
  ExpectCopied(chat, GroupsOf(chat), &handled);
  ExpectCopied(chat, ChatInputOf(chat), &handled);
  for (int i = 0; i < v1::ChatRequest::descriptor()->field_count(); ++i) {
    const std::string& name = v1::ChatRequest::descriptor()->field(i)->name();
    EXPECT_TRUE(handled.contains(name)) << name << " of ChatRequest is ignored";
  }
}

TEST(SharedFields, TheConversationIsAllThatTokenizeTakes) {
  const v1::ChatInput chat = ChatInputOf(FullChat());
  for (int i = 0; i < v1::ChatInput::descriptor()->field_count(); ++i) {
    const FieldDescriptor* field = v1::ChatInput::descriptor()->field(i);
    const auto& reflection = *chat.GetReflection();
    EXPECT_TRUE(field->is_repeated() ? reflection.FieldSize(chat, field) > 0 : reflection.HasField(chat, field))
        << field->name() << ": ChatRequest has none";
  }
}

TEST(SharedFields, WhatIsNotSetStaysAbsent) {
  EXPECT_EQ(GroupsOf({}).SerializeAsString(), "");
  EXPECT_EQ(ChatInputOf({}).SerializeAsString(), "");
}

}  // namespace
}  // namespace latentd
