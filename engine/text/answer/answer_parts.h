// The parts of a piece of an answer, by kind. A value that moves from the parser to the client.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace latentd {

// Part of one tool call: the first one names the call, all of them together hold its arguments.
struct ToolCallFragment {
  int index = 0;  // which call of the answer
  std::string id = {};
  std::string name = {};
  std::string arguments = {};  // as the model wrote them
};

struct AnswerParts {
  std::string content = {};
  std::string reasoning = {};
  std::vector<ToolCallFragment> tool_calls = {};
};

// Fragments of one call that follow on one another become one.
inline void AppendFragments(std::vector<ToolCallFragment> newer, std::vector<ToolCallFragment>& fragments) {
  for (ToolCallFragment& fragment : newer) {
    if (!fragments.empty() && fragments.back().index == fragment.index) {
      fragments.back().arguments += fragment.arguments;
    } else {
      fragments.push_back(std::move(fragment));
    }
  }
}

}  // namespace latentd
