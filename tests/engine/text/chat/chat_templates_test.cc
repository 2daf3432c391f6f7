// From which of a directory's files the chat templates come; the texts were compared with transformers 4.57.6 and
// 5.24.0, which agree.
#include "engine/text/chat/chat_templates.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ChatTemplates : public ::testing::Test {
 protected:
  void Config(const json& chat_template) const { Write("tokenizer_config.json", {{"chat_template", chat_template}}); }
  void Write(const char* name, const json& content) const { WriteFile(directory_.path() / name, content.dump()); }
  void Jinja(const std::string& text) const { WriteFile(directory_.path() / "chat_template.jinja", text); }
  void Additional(const std::string& name, const std::string& text) const {
    std::filesystem::create_directory(directory_.path() / "additional_chat_templates");
    WriteFile(directory_.path() / "additional_chat_templates" / (name + ".jinja"), text);
  }
  // "default=D tool_use=T", or what is wrong in place of a text.
  std::string Found() const {
    std::string found;
    for (const ChatTemplateSource& source : ReadChatTemplates(directory_.path())) {
      found += (found.empty() ? "" : " ") + source.name + "=" +
               (source.text.ok() ? *source.text : std::string(source.text.status().message()));
    }
    return found;
  }

  TemporaryDirectory directory_;
};

TEST_F(ChatTemplates, None) { EXPECT_EQ(Found(), ""); }

TEST_F(ChatTemplates, OneText) {
  Config("D");
  EXPECT_EQ(Found(), "default=D");
}

TEST_F(ChatTemplates, AListOfNamedOnes) {
  Config({{{"name", "default"}, {"template", "D"}}, {{"name", "tool_use"}, {"template", "T"}}});
  EXPECT_EQ(Found(), "default=D tool_use=T");
}

TEST_F(ChatTemplates, AListNeedsNoDefault) {
  Config({{{"name", "tool_use"}, {"template", "T"}}, {{"name", "rag"}, {"template", "R"}}});
  EXPECT_EQ(Found(), "tool_use=T rag=R");
}

TEST_F(ChatTemplates, AnObjectOfThem) {
  Config({{"default", "D"}, {"tool_use", "T"}});
  EXPECT_EQ(Found(), "default=D tool_use=T");
}

TEST_F(ChatTemplates, TheLaterOfTwoWithOneName) {
  Config({{{"name", "default"}, {"template", "1"}}, {{"name", "default"}, {"template", "2"}}});
  EXPECT_EQ(Found(), "default=2");
}

TEST_F(ChatTemplates, AFileOfItsOwnReplacesTheList) {
  Config({{{"name", "default"}, {"template", "D"}}, {{"name", "tool_use"}, {"template", "T"}}});
  Jinja("J");
  EXPECT_EQ(Found(), "default=J");
}

TEST_F(ChatTemplates, AdditionalOnesStandBesideTheFile) {
  Config("D");
  Jinja("J");
  Additional("tool_use", "A");
  EXPECT_EQ(Found(), "default=J tool_use=A");
}

TEST_F(ChatTemplates, AdditionalOnesAloneReplaceTheConfigurations) {
  Config("D");
  Additional("tool_use", "A");
  EXPECT_EQ(Found(), "tool_use=A");
}

TEST_F(ChatTemplates, AnAdditionalDefaultComesLast) {
  Jinja("J");
  Additional("default", "X");
  EXPECT_EQ(Found(), "default=X");
}

TEST_F(ChatTemplates, ProcessorsFileCountsWhereThereIsNoOther) {
  Write("chat_template.json", {{"chat_template", "P"}});
  EXPECT_EQ(Found(), "default=P");
  Config("D");
  EXPECT_EQ(Found(), "default=D");
}

TEST_F(ChatTemplates, WhatIsWrongStandsInPlaceOfTheText) {
  Config(1);
  EXPECT_THAT(Found(), HasSubstr("chat_template: expected a string, found 1"));
  Config({{{"name", "tool_use"}, {"template", "T"}}, {{"name", "default"}}});
  EXPECT_THAT(Found(), HasSubstr("tool_use=T default="));
  EXPECT_THAT(Found(), HasSubstr("chat_template[].template: expected a value"));
  Jinja("\xFF");
  EXPECT_THAT(Found(), HasSubstr("expected UTF-8, found another byte at 0"));
}

TEST_F(ChatTemplates, AFileMayLieAnywhere) {
  WriteFile(directory_.path() / "mine.jinja", "M");
  EXPECT_EQ(*ReadChatTemplateFile(directory_.path() / "mine.jinja").text, "M");
  EXPECT_TRUE(absl::IsNotFound(ReadChatTemplateFile(directory_.path() / "none.jinja").text.status()));
}

}  // namespace
}  // namespace latentd
