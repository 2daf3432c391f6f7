#include "server/access/token.h"

#include <array>
#include <cstdint>
#include <string_view>

#include <absl/strings/escaping.h>
#include <openssl/rand.h>

#include "base/check.h"

namespace latentd {
namespace {

constexpr std::string_view kTokenPrefix = "latentd_";

}  // namespace

std::string MakeToken() {
  std::array<uint8_t, 32> random;
  CHECK_EQ(RAND_bytes(random.data(), static_cast<int>(random.size())), 1);
  return std::string(kTokenPrefix) +
         absl::WebSafeBase64Escape({reinterpret_cast<const char*>(random.data()), random.size()});
}

}  // namespace latentd
