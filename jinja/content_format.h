// Whether a template walks through the parts of a message's content or prints the content as one text.
#pragma once

#include <cstdint>
#include <vector>

namespace latentd::jinja {

struct Statement;

enum class ContentFormat : uint8_t { kText, kParts };

// By the template's syntax, as vLLM decides it: kParts where it loops over the content of what a loop over `messages`,
// or over a variable set to (a slice, a filter of) them, is at.
ContentFormat FindContentFormat(const std::vector<Statement>& body);

}  // namespace latentd::jinja
