#include "server/call/call_origin.h"

#include <algorithm>

namespace latentd {
namespace {

constexpr std::string_view kPattern = "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";
// What a version after 00 may add; more is no trace context but a burden on the log.
constexpr size_t kMaxTraceparent = 256;

bool IsLowerHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool IsZero(std::string_view digits) {
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c == '0'; });
}

}  // namespace

bool IsValidTraceparent(std::string_view value) {
  if (value.size() < kPattern.size() || value.size() > kMaxTraceparent) return false;
  for (size_t i = 0; i < kPattern.size(); ++i) {
    if (kPattern[i] == '-' ? value[i] != '-' : !IsLowerHex(value[i])) return false;
  }
  const std::string_view version = value.substr(0, 2);
  if (version == "ff" || IsZero(value.substr(3, 32)) || IsZero(value.substr(36, 16))) return false;
  if (value.size() == kPattern.size()) return true;
  return version != "00" && value[kPattern.size()] == '-';
}

}  // namespace latentd
