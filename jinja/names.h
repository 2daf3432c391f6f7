// The names that a template knows, found in its syntax tree: a request's other variables would be ignored.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace latentd::jinja {

struct Statement;

using Names = std::set<std::string, std::less<>>;

struct TemplateNames {
  // Variables that may be read before the template itself sets them. Not the built-in functions.
  Names variables;
  // Attributes, and texts that may be keys.
  Names keys;
};

TemplateNames FindNames(const std::vector<Statement>& body);

}  // namespace latentd::jinja
