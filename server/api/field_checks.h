// Collects what is wrong with a request, field by field. Invalid fields win over "not implemented", which wins over OK.
// Holds at most kMaxViolations of each, so the cost of a refusal does not grow with the number of mistakes: a loop over
// entries ends when the checks are full.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/number_text.h"
#include "engine/model/config/sampling_ranges.h"
#include "server/api/status.h"

namespace latentd {

// "expected more than 0 and at most 86400, found 0", whatever kind of number it is.
std::string AboveZero(std::string_view highest, std::string_view value);

class FieldChecks {
 public:
  void Invalid(std::string_view field, std::string_view description);
  // `lowest` to `highest`, both included; NaN is outside of every range.
  template <class Number>
  void Range(std::string_view field, Number value, std::type_identity_t<Number> lowest,
             std::type_identity_t<Number> highest) {
    if (value >= lowest && value <= highest) return;
    Invalid(field,
            absl::StrFormat("expected %s to %s, found %s", NumberText(lowest), NumberText(highest), NumberText(value)));
  }
  void Within(std::string_view field, float value, const SamplingRange& range);
  // False where there are more: then no entry is worth a look.
  bool Count(std::string_view field, size_t count, size_t highest);
  void Length(std::string_view field, std::string_view text, size_t lowest, size_t highest);
  void TokenId(std::string_view field, uint32_t id, uint32_t vocab_size);
  // Ids of a list, up to the first ones that are wrong.
  template <class Ids>
  void TokenIds(std::string_view field, const Ids& ids, uint32_t vocab_size) {
    for (int i = 0; i < ids.size() && !is_full(); ++i) {
      if (ids[i] >= vocab_size) TokenId(absl::StrFormat("%s[%d]", field, i), ids[i], vocab_size);
    }
  }
  // `is_set` asks for something that this server does not do yet.
  void Unsupported(bool is_set, std::string_view field, std::string_view what);

  // Nothing more is kept.
  bool is_full() const;
  absl::Status Result() const;

 private:
  std::vector<FieldViolation> violations_;
  std::vector<FieldViolation> unsupported_;
};

}  // namespace latentd
