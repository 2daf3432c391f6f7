// Which addresses a client reaches without a proxy.
#include "tools/client/proxy_rules.h"

#include <string>

#include <gtest/gtest.h>

namespace latentd {
namespace {

bool Bypasses(const std::string& address, std::string_view no_proxy) {
  return GoesWithoutProxy(ParseAddress(address, AddressUse::kGrpcClient).value(), no_proxy);
}

TEST(ProxyRules, LoopbackAndUnixSocketsNeverUseOne) {
  for (const char* address :
       {"127.0.0.1:50051", "127.8.9.10:1", "[::1]:50051", "[::ffff:127.0.0.1]:1", "localhost:1", "LOCALHOST:1",
        "localhost.:1", "daemon.localhost:1", "0.0.0.0:1", "[::]:1", "unix:/run/d"}) {
    EXPECT_TRUE(Bypasses(address, "")) << address;
  }
}

TEST(ProxyRules, OthersDoUnlessTheListNamesThem) {
  for (const char* address : {"10.0.0.1:50051", "128.0.0.1:1", "[fd00::1]:1", "example.org:1", "notlocalhost:1"}) {
    EXPECT_FALSE(Bypasses(address, "")) << address;
    EXPECT_FALSE(Bypasses(address, "other.org,10.0.0.2,,fd00::2, ")) << address;
    EXPECT_TRUE(Bypasses(address, "*")) << address;
    EXPECT_TRUE(Bypasses(address, "other.org , *")) << address;
  }
}

TEST(ProxyRules, ANameStandsForAllNamesBelowIt) {
  for (const char* entry : {"example.org", ".example.org", "*.example.org", "EXAMPLE.ORG", "example.org."}) {
    EXPECT_TRUE(Bypasses("example.org:1", entry)) << entry;
    EXPECT_TRUE(Bypasses("a.b.example.org:1", entry)) << entry;
    EXPECT_FALSE(Bypasses("notexample.org:1", entry)) << entry;
    EXPECT_FALSE(Bypasses("example.org.net:1", entry)) << entry;
  }
}

TEST(ProxyRules, AddressesAndNetworksAreCompared) {
  EXPECT_TRUE(Bypasses("10.1.2.3:1", "10.1.2.3"));
  EXPECT_TRUE(Bypasses("10.1.2.3:1", "192.0.2.0/24,10.0.0.0/8"));
  EXPECT_FALSE(Bypasses("11.1.2.3:1", "10.0.0.0/8"));
  EXPECT_TRUE(Bypasses("10.1.2.3:1", "10.1.2.2/31"));
  EXPECT_FALSE(Bypasses("10.1.2.4:1", "10.1.2.2/31"));
  EXPECT_TRUE(Bypasses("[fd00::1]:1", "fd00::/8"));
  EXPECT_TRUE(Bypasses("[fd00:0::1]:1", "fd00::1"));
  EXPECT_TRUE(Bypasses("[fd00::1]:1", "[fd00::1]"));
  EXPECT_FALSE(Bypasses("10.1.2.3:1", "::/0/0,10.1.2.3/33,10.1.2.3/-1,10.1.2.3/x,/8"));
  EXPECT_TRUE(Bypasses("10.1.2.3:1", "0.0.0.0/0"));
}

TEST(ProxyRules, APortNarrowsAnEntry) {
  EXPECT_TRUE(Bypasses("example.org:50051", "example.org:50051"));
  EXPECT_FALSE(Bypasses("example.org:50052", "example.org:50051"));
  EXPECT_TRUE(Bypasses("[fd00::1]:50051", "[fd00::1]:50051"));
  EXPECT_FALSE(Bypasses("[fd00::1]:50052", "[fd00::1]:50051"));
}

TEST(ProxyRules, PartsOfNamesAndBrokenEntriesMatchNothing) {
  for (const char* entry : {"org", "[fd00::1", "ample.org", ".", "*.", "/"}) {
    EXPECT_EQ(Bypasses("example.org:1", entry), std::string_view(entry) == "org") << entry;  // as of a domain
  }
}

}  // namespace
}  // namespace latentd
