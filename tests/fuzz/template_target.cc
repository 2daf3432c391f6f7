// A chat template, rendered with one conversation under tight limits.
#include "base/check.h"
#include "base/utf8.h"
#include "jinja/chat_template.h"
#include "jinja/json_reader.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

constexpr size_t kMaxPromptBytes = 1 << 16;

constexpr std::string_view kContext = R"json({
  "messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße, 世界 😀\n  <|a|> "},
    {"role": "assistant", "content": "<think>hm</think> yes", "reasoning_content": "hm",
     "tool_calls": [{"type": "function", "id": "f:0", "function": {"name": "f", "arguments": {"x": [1, -2.5, null]}}}]},
    {"role": "tool", "tool_call_id": "f:0", "content": [{"type": "text", "text": "42"}]},
    {"role": "user", "content": ""}],
  "tools": [{"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object"}}}],
  "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 3, "flag": false
})json";

}  // namespace

void FuzzTemplate(std::string_view input) {
  static const jinja::Value kValues = *jinja::ParseJson(kContext);
  const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(input);
  CHECK(ChatTemplate::Parse(input).status() == parsed.status());
  if (!parsed.ok()) return CheckRefusal(parsed.status());

  const ChatTemplate::RenderOptions options = {.limits = {.text_bytes = kMaxPromptBytes, .work = 1 << 17},
                                               .now = std::tm{}};
  const absl::StatusOr<std::string> prompt = parsed->Render(kValues.object(), options);
  const absl::StatusOr<std::string> again = parsed->Render(kValues.object(), options);
  CHECK(again.status() == prompt.status());
  if (!prompt.ok()) {
    // The template's own words, in raise_exception, may be many lines.
    CHECK(absl::IsInvalidArgument(prompt.status()));
    CHECK_LE(prompt.status().message().size(), 2 * kMaxPromptBytes);
    return;
  }
  CHECK_EQ(*again, *prompt);
  CHECK_LE(prompt->size(), kMaxPromptBytes);
  CHECK(!FindInvalidUtf8(*prompt));
}

}  // namespace latentd
