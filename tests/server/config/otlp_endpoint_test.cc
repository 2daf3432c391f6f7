#include "server/config/otlp_endpoint.h"

#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(OtlpEndpoint, IsAnAddressWithOrWithoutAScheme) {
  for (const char* text : {"collector:4317", "http://collector:4317", "http://collector:4317/"}) {
    const absl::StatusOr<OtlpEndpoint> endpoint = ParseOtlpEndpoint(text);
    ASSERT_TRUE(endpoint.ok()) << text;
    EXPECT_EQ(endpoint->address.ToString(), "collector:4317");
    EXPECT_FALSE(endpoint->has_tls);
  }
  EXPECT_TRUE(ParseOtlpEndpoint("https://[::1]:4317")->has_tls);
  EXPECT_EQ(ParseOtlpEndpoint("unix:/run/otlp")->address.kind, Address::Kind::kUnix);
}

TEST(OtlpEndpoint, IsRefusedUnderTheKnobsName) {
  for (const char* text : {"collector", "http://", "http://collector:4317/v1/traces", "ftp://collector:4317"}) {
    const absl::Status status = ParseOtlpEndpoint(text).status();
    EXPECT_EQ(std::string(status.message()).find("otlp-endpoint: expected"), 0u) << text << ": " << status;
  }
}

}  // namespace
}  // namespace latentd
