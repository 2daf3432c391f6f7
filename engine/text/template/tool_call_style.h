// How a template wants tool calls to be given, found out by rendering a small conversation with it in each way that is
// in use. The same template always gives the same answer.
#pragma once

#include <cstdint>

#include "engine/text/template/chat_template.h"

namespace latentd {

// A call's arguments: the JSON text itself, or the object that it describes. Some templates print a text and cannot
// print an object, others would encode a text as JSON once more, others loop over the object's fields.
enum class ArgumentsForm : uint8_t { kText, kObject };

struct ToolCallStyle {
  ArgumentsForm arguments = ArgumentsForm::kText;  // kText where both serve: the bytes stay what they were
  // Whether a message's calls are printed when its content is none, an empty text, another text. Some templates fail
  // on none or print the word, others print a message's content or its calls.
  bool beside_none = false;
  bool beside_empty = false;
  bool beside_text = false;
  bool prints_results = false;  // messages of role "tool"

  bool prints_calls() const { return beside_none || beside_empty || beside_text; }
};

// `variables` are those that every rendering has, such as bos_token.
ToolCallStyle FindToolCallStyle(const ChatTemplate& chat_template, const ChatTemplate::Context& variables);

}  // namespace latentd
