// How a template wants tool calls to be given, found out by rendering a small conversation with it in each way that is
// in use. The same template always gives the same answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "jinja/chat_template.h"

namespace latentd {

// A call's arguments: the JSON text itself, or the object that it describes. Some templates print a text and cannot
// print an object, others would encode a text as JSON once more, others loop over the object's fields.
enum class ArgumentsForm : uint8_t { kText, kObject };

// How a template that prints either a text or calls prints an answer with both: as a message with the text and one with
// the calls. Between the two stands what ends a text, and what begins an answer.
struct SplitAnswer {
  std::string text_end;
  std::string calls_opening;  // the text before the name of an answer's first call, as the model writes it
};

struct ToolCallStyle {
  ArgumentsForm arguments = ArgumentsForm::kText;  // kText where both serve: the bytes stay what they were
  // Whether a message's calls are printed when its content is none, an empty text, another text. Some templates fail
  // on none or print the word, others print a message's content or its calls.
  bool beside_none = false;
  bool beside_empty = false;
  bool beside_text = false;
  std::optional<SplitAnswer> split;  // where not beside a text, but that can be helped
  bool prints_results = false;       // messages of role "tool"

  bool prints_calls() const { return beside_none || beside_empty || beside_text; }
  bool prints_text_and_calls() const { return beside_text || split.has_value(); }
  bool prints_only_calls() const { return beside_none || beside_empty; }
  // Whatever calls an answer has, with or without a text, it can come back as part of the conversation.
  bool prints_every_answer() const { return prints_text_and_calls() && prints_only_calls(); }
};

// `variables` are those that every rendering has, such as bos_token.
ToolCallStyle FindToolCallStyle(const ChatTemplate& chat_template, const ChatTemplate::Context& variables);

}  // namespace latentd
