#include "jinja/content_format.h"

#include <string_view>

#include <gtest/gtest.h>

#include "jinja/chat_template.h"

namespace latentd {
namespace {

using jinja::ContentFormat;

ContentFormat FormatOf(std::string_view source) { return ChatTemplate::Parse(source)->content_format(); }

// What vLLM's detection says of the same templates.
TEST(ContentFormat, PartsWhereTheTemplateLoopsOverThem) {
  const std::string_view sources[] = {
      "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
      "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}",
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}"
      "{% endfor %}{% endif %}{% endfor %}",
      "{% set loop_messages = messages[1:] %}{% for m in loop_messages %}{% for p in m.content | list %}{{ p.text }}"
      "{% endfor %}{% endfor %}",
      "{% set a = b %}{% set b = messages %}{% for m in b %}{% for p in m.content %}{{ p }}{% endfor %}{% endfor %}",
      "{% for m in messages | selectattr('role') %}{% for p in m.content | selectattr('type', 'equalto', 'text') %}"
      "{{ p.text }}{% endfor %}{% endfor %}",
  };
  for (const std::string_view source : sources) EXPECT_EQ(FormatOf(source), ContentFormat::kParts) << source;
}

TEST(ContentFormat, TextElsewhere) {
  const std::string_view sources[] = {
      "",
      "{% for m in messages %}{{ m.content }}{% endfor %}",
      "{% for m in messages %}{% for call in m.tool_calls %}{{ call.content }}{% endfor %}{% endfor %}",
      "{% for m in others %}{% for part in m.content %}{{ part }}{% endfor %}{% endfor %}",
      "{% for m in messages %}{% set content = m.content %}{% for p in content %}{{ p }}{% endfor %}{% endfor %}",
      "{% macro show(content) %}{% for p in content %}{{ p }}{% endfor %}{% endmacro %}{% for m in messages %}"
      "{{ show(m.content) }}{% endfor %}",
  };
  for (const std::string_view source : sources) EXPECT_EQ(FormatOf(source), ContentFormat::kText) << source;
}

}  // namespace
}  // namespace latentd
