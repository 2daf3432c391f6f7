#include "server/api/field_checks.h"

#include <absl/strings/str_format.h>

#include "server/api/request_bounds.h"

namespace latentd {

std::string AboveZero(std::string_view highest, std::string_view value) {
  return absl::StrFormat("expected more than 0 and at most %s, found %s", highest, value);
}

bool FieldChecks::is_full() const { return violations_.size() >= kMaxViolations; }

void FieldChecks::Invalid(std::string_view field, std::string_view description) {
  if (!is_full()) violations_.push_back(MakeViolation(field, description));
}

void FieldChecks::Within(std::string_view field, float value, const SamplingRange& range) {
  if (range.Holds(value)) return;
  if (range.lowest_is == Lowest::kIncluded) return Range(field, value, range.lowest, range.highest);
  Invalid(field, AboveZero(NumberText(range.highest), NumberText(value)));
}

bool FieldChecks::Count(std::string_view field, size_t count, size_t highest) {
  if (count <= highest) return true;
  Invalid(field, TooManyEntries(count, highest));
  return false;
}

void FieldChecks::Length(std::string_view field, std::string_view text, size_t lowest, size_t highest) {
  if (text.size() >= lowest && text.size() <= highest) return;
  Invalid(field, absl::StrFormat("expected %d to %d bytes, found %d", lowest, highest, text.size()));
}

void FieldChecks::TokenId(std::string_view field, uint32_t id, uint32_t vocab_size) {
  if (id < vocab_size) return;
  Invalid(field, absl::StrFormat("expected a token id below %d, found %d", vocab_size, id));
}

void FieldChecks::Unsupported(bool is_set, std::string_view field, std::string_view what) {
  if (!is_set || unsupported_.size() >= kMaxViolations) return;
  unsupported_.push_back(MakeViolation(field, absl::StrFormat("%s; leave it unset", what)));
}

absl::Status FieldChecks::Result() const {
  if (!violations_.empty()) return InvalidFields(violations_);
  if (!unsupported_.empty()) return UnsupportedField(unsupported_[0].field, unsupported_[0].description);
  return absl::OkStatus();
}

}  // namespace latentd
