#include "tools/client/address_flag.h"

namespace latentd {

Flag AddressFlag(const std::string& name, std::string& address, AddressUse use) {
  const auto make_canonical = [use](std::string& text) {
    const absl::StatusOr<Address> parsed = ParseAddress(text, use);
    if (!parsed.ok()) return std::string(parsed.status().message());
    text = parsed->ToString();
    return std::string();
  };
  return {.name = name, .target = &address, .rule = {.judge = make_canonical}, .type = "ADDRESS"};
}

}  // namespace latentd
