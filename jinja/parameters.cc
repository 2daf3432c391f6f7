#include "jinja/parameters.h"

#include <utility>

#include <absl/strings/str_format.h>

#include "jinja/comparison.h"

namespace latentd::jinja {

Parameters::Parameters(Runtime& runtime, std::string_view function, const Arguments& arguments,
                       std::vector<std::string_view> names, size_t num_required)
    : runtime_(runtime), function_(function), names_(std::move(names)), values_(names_.size(), nullptr) {
  if (arguments.positional.size() > names_.size()) {
    runtime_.Fail(absl::StrFormat("%s takes at most %d arguments, found %d", function_, names_.size(),
                                  arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size() && i < names_.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    size_t index = 0;
    while (index < names_.size() && names_[index] != name) ++index;
    if (index == names_.size()) {
      runtime_.Fail(absl::StrFormat("%s takes no argument named '%s'", function_, name));
    } else if (values_[index] != nullptr) {
      runtime_.Fail(absl::StrFormat("%s got two values for its argument '%s'", function_, name));
    } else {
      values_[index] = &value;
    }
  }
  for (size_t i = 0; i < num_required; ++i) {
    if (!given(i)) runtime_.Fail(absl::StrFormat("%s needs its argument '%s'", function_, names_[i]));
  }
  runtime_.has_wrong_arguments_ |= runtime_.failed();
}

Value Parameters::Get(size_t index, Value otherwise) const { return given(index) ? *values_[index] : otherwise; }

int64_t Parameters::Integer(size_t index, int64_t otherwise) const {
  if (!given(index)) return otherwise;
  if (values_[index]->is_integral()) return values_[index]->integral();
  runtime_.Fail(
      absl::StrFormat("%s expects an integer as '%s', found %s", function_, names_[index], TypeName(*values_[index])));
  return otherwise;
}

bool Parameters::Truth(size_t index, bool otherwise) const {
  return given(index) ? IsTrue(*values_[index]) : otherwise;
}

TracedText Parameters::Traced(size_t index, std::string_view otherwise) const {
  if (given(index) && values_[index]->is_text()) return values_[index]->traced_text();
  TracedText fallback{.text = std::string(otherwise), .from_request = {}};
  if (!given(index)) return fallback;
  runtime_.Fail(
      absl::StrFormat("%s expects a string as '%s', found %s", function_, names_[index], TypeName(*values_[index])));
  return fallback;
}

}  // namespace latentd::jinja
