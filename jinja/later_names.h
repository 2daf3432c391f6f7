// The names that a scope sets before it reads them. Jinja compiles a scope to a function of Python, where such a name
// is the scope's own from its first line on: undefined until it is set, whatever it is outside. So it is for the scopes
// inside that read it, and for macros that were called too soon.
#pragma once

#include <string>
#include <vector>

namespace latentd::jinja {

struct Statement;

// Those of the whole template. Those of each scope inside are written into its statement.
std::vector<std::string> MarkLaterNames(std::vector<Statement>& body);

}  // namespace latentd::jinja
