#include "server/grpc/call_context.h"

#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(CallOrigin, PeersAreReadable) {
  EXPECT_EQ(ReadablePeer("ipv4:127.0.0.1:50312"), "ipv4:127.0.0.1:50312");
  EXPECT_EQ(ReadablePeer("ipv6:%5B2001:db8::1%5D:50312"), "ipv6:[2001:db8::1]:50312");
  EXPECT_EQ(ReadablePeer("unix:"), "unix:");
}

}  // namespace
}  // namespace latentd
