#include "server/api/tenant_name.h"

#include <string>

#include <gtest/gtest.h>

#include "server/api/status.h"

namespace latentd {
namespace {

TEST(TenantName, IsOneTo64BytesOfPrintableAscii) {
  for (const std::string& name : {std::string("a"), std::string("team 7/blue~"), std::string(64, 'x')}) {
    const absl::StatusOr<std::string> parsed = ParseTenant(name);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, name);
  }
  for (const std::string& name : {std::string(), std::string(65, 'x'), std::string("tab\t"), std::string("nul\0", 4),
                                  std::string("\x7f"), std::string("é")}) {
    const absl::Status status = ParseTenant(name).status();
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD") << name;
    EXPECT_TRUE(std::string(status.message()).starts_with("metadata x-latentd-tenant: expected 1 to 64 bytes"));
  }
}

}  // namespace
}  // namespace latentd
