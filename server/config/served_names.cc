#include "server/config/served_names.h"

#include <algorithm>

#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>

namespace latentd {
namespace {

constexpr size_t kMaxNames = 16;
constexpr size_t kMaxNameBytes = 128;

bool IsName(const std::string& text) {
  const bool is_printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
  return !text.empty() && text.size() <= kMaxNameBytes && is_printable;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseServedNames(std::string_view text) {
  if (text.empty()) return std::vector<std::string>();
  std::vector<std::string> names = absl::StrSplit(absl::string_view(text.data(), text.size()), ',');
  if (names.size() > kMaxNames) {
    return absl::InvalidArgumentError(
        absl::StrFormat("served-model-name: expected at most %d names, found %d", kMaxNames, names.size()));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (!IsName(names[i])) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "served-model-name: expected names of 1 to %d bytes of printable ASCII between commas, found \"%s\"",
          kMaxNameBytes, absl::CHexEscape(names[i])));
    }
    if (std::count(names.begin(), names.end(), names[i]) > 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("served-model-name: expected each name once, found %s twice", names[i]));
    }
  }
  return names;
}

}  // namespace latentd
