// JSON texts as they lie in the files of a model: Python's additions to JSON, and the looks of a cut file.
#pragma once

#include <string>
#include <string_view>

namespace latentd {

// Python writes NaN, Infinity and integers of any length, which readers of JSON refuse. Here they are numbers with an
// exponent: beyond any range (1e308) the first two.
std::string WithPythonsNumbersAsJson(std::string_view json);

// Whether a string, an object or an array is still open at the end.
bool EndsEarly(std::string_view json);

}  // namespace latentd
