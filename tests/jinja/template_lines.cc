// Renders templates that come in as lines, for tests/jinja/template_comparison.py: each line of the standard input is
// [template, variables] as JSON, the variables as JSON text, each line of the output {"text": …} or {"error": …}.
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/jinja/rendered.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto input = nlohmann::ordered_json::parse(line);
    const auto prompt = latentd::Render(input.at(0).get<std::string>(), input.at(1).get<std::string>());
    nlohmann::json output;
    if (prompt.ok()) {
      output["text"] = *prompt;
    } else {
      output["error"] = std::string(prompt.status().message());
    }
    std::cout << output.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << '\n';
  }
  return 0;
}
