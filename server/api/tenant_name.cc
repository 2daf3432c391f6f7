#include "server/api/tenant_name.h"

#include <cstddef>

#include <absl/strings/str_format.h>

#include "base/printable_text.h"
#include "server/api/status.h"

namespace latentd {
namespace {

constexpr size_t kMaxTenantBytes = 64;

}  // namespace

absl::StatusOr<std::string> ParseTenant(std::string_view text) {
  const bool has_length = !text.empty() && text.size() <= kMaxTenantBytes;
  if (has_length && IsPrintableAscii(text)) return std::string(text);
  const std::string found = has_length ? "others" : absl::StrFormat("%d bytes", text.size());
  return InvalidField(absl::StrFormat("metadata %s", kTenantKey),
                      absl::StrFormat("expected 1 to %d bytes of printable ASCII, found %s", kMaxTenantBytes, found));
}

}  // namespace latentd
