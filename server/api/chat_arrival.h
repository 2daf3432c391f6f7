// Whether the texts of a conversation stand in its prompt whole: a template may leave out what is too long, stands on a
// second line or is no number, which marks in place of the texts (chat_probe.h) cannot show. Runs where the prompt is
// made.
#pragma once

#include <string_view>

#include "latentd/v1/generation.pb.h"
#include "server/api/field_checks.h"
#include "server/api/served_model.h"

namespace latentd {

// Names each content, string of a call's arguments and description of a tool that `prompt`, which was rendered of them,
// does not hold. It holds a text as it is, as JSON, Python or HTML write it, and whatever became of the case of its
// letters and of its white space. The part of an assistant's content before the last </think> may be absent: reasoning
// is the template's to drop.
void CheckArrival(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model, std::string_view prompt,
                  FieldChecks& checks);

}  // namespace latentd
