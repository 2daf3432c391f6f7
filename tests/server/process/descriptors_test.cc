#include "server/process/descriptors.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/net/address.h"
#include "server/start/exposure.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Config With(int64_t connections, int64_t per_peer) {
  Config config;
  config.max_connections = connections;
  config.max_connections_per_peer = per_peer;
  return config;
}

TEST(Descriptors, ConnectionsLeaveSomeToTheRest) {
  for (const int64_t limit : {8, 64, 128, 256, 1'024, 65'536, 1 << 20}) {
    const ConnectionLimits api = LimitsOfApi({}, limit);
    const ConnectionLimits admin = LimitsOfAdmin(limit);
    EXPECT_GE(api.connections, 1) << limit;
    EXPECT_GE(api.per_peer, 1) << limit;
    EXPECT_GE(admin.connections, 1) << limit;
    EXPECT_LE(api.connections + admin.connections, limit) << limit;
    EXPECT_GE(limit - api.connections, std::min<int64_t>(192, limit / 2)) << limit;
  }
}

TEST(Descriptors, TheKnobsHoldWithinTheLimit) {
  const ConnectionLimits chosen = LimitsOfApi(With(100, 7), 65'536);
  EXPECT_EQ(chosen.connections, 100);
  EXPECT_EQ(chosen.per_peer, 7);
  EXPECT_EQ(LimitsOfApi(With(100'000, 0), 1'024).connections, 1'024 - 192);
  EXPECT_EQ(LimitsOfApi(With(10, 50), 1'024).per_peer, 10);
  EXPECT_EQ(LimitsOfApi({}, 65'536).connections, 2'048);
}

TEST(Descriptors, KnobsBeyondTheLimitAreWarnedOf) {
  EXPECT_THAT(ConnectionWarnings(With(1'000'000, 0), 100),
              ElementsAre(AllOf(HasSubstr("max-connections: 1000000 "), HasSubstr("100 descriptors allows, 50 are"))));
  EXPECT_THAT(ConnectionWarnings(With(100, 200), 1'024), ElementsAre(HasSubstr("max-connections-per-peer: 200 ")));
  EXPECT_THAT(ConnectionWarnings(With(100, 7), 1'024), IsEmpty());
  EXPECT_THAT(ConnectionWarnings({}, 64), IsEmpty());
}

std::string WarningOf(const char* grpc, const char* metrics, const GuardedListeners& guarded = {}) {
  const auto parse = [](std::string_view text) { return OrDie(ParseAddress(text, AddressUse::kGrpcListener)); };
  return ExposureWarning({.grpc = parse(grpc), .metrics = parse(metrics)}, guarded);
}

TEST(Exposure, ListenersBeyondLoopbackAreWarnedOfInOneLine) {
  EXPECT_THAT(WarningOf("0.0.0.0:1", "[::]:2"),
              AllOf(HasSubstr("(listen: 0.0.0.0:1)"), HasSubstr("(metrics-listen: [::]:2)")));
  EXPECT_THAT(WarningOf("10.0.0.1:1", "[::1]:2"), Not(HasSubstr("metrics")));
}

TEST(Exposure, WhatAsksForCredentialsIsNot) {
  EXPECT_EQ(WarningOf("0.0.0.0:1", "[::]:2", {.grpc = true, .metrics = true}), "");
  EXPECT_THAT(WarningOf("0.0.0.0:1", "[::]:2", {.grpc = true}), HasSubstr("credentials, any client can read the met"));
}

TEST(Exposure, PublishedTokensAreWarnedOf) {
  const auto parse = [](std::string_view text) { return OrDie(ParseTcpListener(text)); };
  EXPECT_THAT(ExposureWarning({.grpc = parse("tcp://127.0.0.1:1"),
                               .metrics = parse("tcp://127.0.0.1:2"),
                               .kv_events = parse("tcp://0.0.0.0:3"),
                               .kv_events_replay = parse("tcp://127.0.0.1:4")},
                              {.grpc = true, .metrics = true}),
              AllOf(HasSubstr("token ids"), HasSubstr("(kv-events-listen: 0.0.0.0:3)"), Not(HasSubstr("replay"))));
}

TEST(Exposure, LoopbackAndUnixSocketsAreNot) {
  EXPECT_EQ(WarningOf("127.0.0.1:1", "[::1]:2"), "");
  EXPECT_EQ(WarningOf("unix:/run/api", "127.0.0.1:2"), "");
}

}  // namespace
}  // namespace latentd
