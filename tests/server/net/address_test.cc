#include "server/net/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr AddressUse kAllUses[] = {AddressUse::kGrpcListener, AddressUse::kHttpListener, AddressUse::kGrpcClient,
                                   AddressUse::kHttpClient};

std::string Canonical(std::string_view text, AddressUse use = AddressUse::kGrpcListener) {
  return OrDie(ParseAddress(text, use)).ToString();
}

std::string Error(std::string_view text, AddressUse use = AddressUse::kGrpcListener) {
  const absl::StatusOr<Address> address = ParseAddress(text, use);
  return address.ok() ? "taken as " + address->ToString() : std::string(address.status().message());
}

TEST(Address, EveryUseTakesTheSameHostsAndPorts) {
  const std::pair<const char*, const char*> cases[] = {
      {"127.0.0.1:50051", "127.0.0.1:50051"},
      {"0.0.0.0:80", "0.0.0.0:80"},
      {"[::1]:50051", "[::1]:50051"},
      {"[::]:9090", "[::]:9090"},
      {"[0:0:0::0001]:00080", "[::1]:80"},
      {"[2001:DB8::A]:65535", "[2001:db8::a]:65535"},
      {"[::ffff:127.0.0.1]:80", "127.0.0.1:80"},
      {"localhost:80", "localhost:80"},
      {"Model-1.example_zone.ORG:80", "model-1.example_zone.org:80"},
      {"4a:80", "4a:80"},
  };
  for (const auto& [text, canonical] : cases) {
    for (const AddressUse use : kAllUses) EXPECT_EQ(Canonical(text, use), canonical);
  }
}

TEST(Address, WhatIsPrintedIsTakenAgain) {
  for (const char* text : {"127.0.0.1:1", "[::]:1", "[::ffff:1.2.3.4]:9", "host:65535", "unix:/run/a-b_c.sock"}) {
    EXPECT_EQ(Canonical(Canonical(text)), Canonical(text));
  }
}

TEST(Address, AListenerMayLetTheSystemChooseAPortAndAClientMayNot) {
  EXPECT_EQ(OrDie(ParseAddress("127.0.0.1:0", AddressUse::kHttpListener)).port, 0);
  EXPECT_EQ(OrDie(ParseAddress("[::1]:0", AddressUse::kGrpcListener)).port, 0);
  EXPECT_THAT(Error("127.0.0.1:0", AddressUse::kGrpcClient), HasSubstr("nothing listens on port 0"));
  EXPECT_THAT(Error("[::1]:0", AddressUse::kHttpClient), HasSubstr("nothing listens on port 0"));
}

// clang-format off
constexpr const char* kGuesses[] = {
    "", ":", "::", "::1", "::1:80", "[::1]", "[::1]80", "[::1:80", "::1]:80", "[]:80", "[::g]:80", "[1.2.3.4]:80",
    "[fe80::1%eth0]:80", "[[::1]]:80", "*:0", "*:80", "*", ":80", ":0", "0:0", "0:80", "1:80", "127.1:80",
    "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-0", "127.0.0.1:-1", "127.0.0.1:+80", "127.0.0.1:8o",
    "127.0.0.1:0x50", "127.0.0.1: 80", "127.0.0.1:99999999999999999999", "127.0.0.1::80", "127.0.0.1:80:90",
    "256.0.0.1:80", "1.2.3:80", "1.2.3.4.5:80", "0x7f000001:80", "127.0.0.0x1:80", "2130706433:80", "127.0.0.1.:80",
    " 127.0.0.1:80", "host name:80", "a..b:80", ".a:80", "-a:80", "a/b:80", "http://host:80", "dns:///host:80",
    "ipv4:127.0.0.1:80", "50051", "host", "ho\xc3\xb6st:80", "a\nb:80", "user@host:80",
};
// clang-format on

TEST(Address, WhatResolversWouldGuessAtIsRefusedInOneLine) {
  for (const char* text : kGuesses) {
    for (const AddressUse use : kAllUses) {
      EXPECT_THAT(Error(text, use),
                  AllOf(HasSubstr("expected HOST:PORT"), HasSubstr("[IPV6]:PORT"), Not(HasSubstr("\n"))))
          << text;
    }
  }
}

TEST(Address, ALongTextIsQuotedInPart) { EXPECT_LT(Error(std::string(100'000, 'x')).size(), 400u); }

TEST(Address, UnixSocketsHaveAPathFromTheRoot) {
  EXPECT_EQ(Canonical("unix:/run/latentd.sock"), "unix:/run/latentd.sock");
  EXPECT_EQ(Canonical("unix:///run/latentd.sock", AddressUse::kGrpcClient), "unix:/run/latentd.sock");
  EXPECT_EQ(Canonical("unix:/" + std::string(106, 'a')), "unix:/" + std::string(106, 'a'));
  EXPECT_THAT(Error("unix:/" + std::string(107, 'a')), HasSubstr("at most 107 bytes, this one 108"));
  for (const char* text : {"unix:", "unix:0", "unix:1", "unix:relative", "unix:./a", "unix:~/a", "unix://host/a",
                           "unix:/", "unix:/run/", "unix:/a b", "unix:/a%20b", "unix:/a?b", "unix:/a#b", "unix:/a\"b",
                           "unix:/a\nb", "unix:/\xff", "unix:@abstract"}) {
    EXPECT_THAT(Error(text), HasSubstr("or unix:/PATH, found")) << text;
    EXPECT_THAT(Error(text, AddressUse::kGrpcClient), HasSubstr("or unix:/PATH, found")) << text;
  }
}

TEST(Address, MetricsAreNotServedOnUnixSockets) {
  EXPECT_THAT(Error("unix:/run/a", AddressUse::kHttpListener), HasSubstr("served over TCP only"));
  EXPECT_THAT(Error("unix:/run/a", AddressUse::kHttpClient), HasSubstr("served over TCP only"));
}

TEST(Address, AClientDialsLoopbackWhereAListenerIsEverywhere) {
  const auto dialled = [](const char* text) {
    return AddressToDial(OrDie(ParseAddress(text, AddressUse::kGrpcListener))).ToString();
  };
  EXPECT_EQ(dialled("0.0.0.0:5"), "127.0.0.1:5");
  EXPECT_EQ(dialled("[::]:5"), "127.0.0.1:5");
  EXPECT_EQ(dialled("[::1]:5"), "[::1]:5");
  EXPECT_EQ(dialled("10.0.0.1:5"), "10.0.0.1:5");
  EXPECT_EQ(dialled("unix:/run/a"), "unix:/run/a");
}

TEST(Address, LoopbackIsToldFromTheNetwork) {
  const auto is_loopback = [](const char* text) {
    return OrDie(ParseAddress(text, AddressUse::kGrpcListener)).is_loopback();
  };
  for (const char* text : {"127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0", "localhost:0", "unix:/a"}) {
    EXPECT_TRUE(is_loopback(text)) << text;
  }
  for (const char* text :
       {"0.0.0.0:0", "[::]:0", "10.0.0.1:0", "[fe80::1]:0", "example.org:0", "[::ffff:10.0.0.1]:0"}) {
    EXPECT_FALSE(is_loopback(text)) << text;
  }
}

}  // namespace
}  // namespace latentd
