// What of a conversation a chat template leaves out: the same conversation, with a number of its own in place of each
// text, is rendered, and the numbers that are not in the prompt tell. Runs where the prompt is made.
#pragma once

#include <string_view>

#include "latentd/v1/generation.pb.h"
#include "server/api/field_checks.h"
#include "server/api/served_model.h"

namespace latentd {

// Names each field whose text would not reach the prompt. Not asked for are reasoning, which templates keep or drop as
// their models were trained to, the ids of calls, which only say what belongs together, and the name of what answers a
// call. For input that CheckChat found nothing wrong with.
void CheckTemplatePrints(const v1::ChatInput& chat, std::string_view prefix, const ServedModel& model,
                         FieldChecks& checks);

// Whether the template prints what a user says. One that does not tells nothing by leaving out other texts.
bool PrintsAnyMessage(const v1::ChatInput& chat, const ServedModel& model);

}  // namespace latentd
