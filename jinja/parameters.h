// The parameters of a callable: the arguments of one call, matched to names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jinja/runtime.h"
#include "jinja/value.h"

namespace latentd::jinja {

// Matches the arguments of one call to parameter names, as a Python function with these parameters would.
class Parameters {
 public:
  // Fails the rendering on surplus and unknown arguments and where one of the first `num_required` names is missing.
  Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
             std::vector<std::string_view> names, size_t num_required = 0);

  bool given(size_t index) const { return values_[index] != nullptr; }
  // The argument, or `otherwise` when it was not given.
  Value Get(size_t index, Value otherwise = Value::None()) const;
  // These three fail the rendering when the argument has another type.
  int64_t Integer(size_t index, int64_t otherwise) const;
  bool Truth(size_t index, bool otherwise) const;
  std::string Text(size_t index, std::string_view otherwise) const { return Traced(index, otherwise).text; }
  TracedText Traced(size_t index, std::string_view otherwise) const;

 private:
  Runtime& runtime_;
  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace latentd::jinja
