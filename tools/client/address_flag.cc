#include "tools/client/address_flag.h"

namespace latentd {

CLI::Option* AddAddressFlag(CLI::App& app, const std::string& flag, std::string& address, AddressUse use) {
  const auto canonical = [use](std::string& text) {
    const absl::StatusOr<Address> parsed = ParseAddress(text, use);
    if (!parsed.ok()) return std::string(parsed.status().message());
    text = parsed->ToString();
    return std::string();
  };
  return app.add_option(flag, address)->transform(CLI::Validator(canonical, ""))->type_name("ADDRESS");
}

}  // namespace latentd
