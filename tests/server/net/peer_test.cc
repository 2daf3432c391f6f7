#include "server/net/peer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

namespace latentd {
namespace {

sockaddr_storage Ipv6(const char* text, uint16_t port) {
  sockaddr_storage storage{};
  auto& address = reinterpret_cast<sockaddr_in6&>(storage);
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  EXPECT_EQ(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
  return storage;
}

sockaddr_storage Ipv4(const char* text, uint16_t port) {
  sockaddr_storage storage{};
  auto& address = reinterpret_cast<sockaddr_in&>(storage);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  EXPECT_EQ(inet_pton(AF_INET, text, &address.sin_addr), 1);
  return storage;
}

TEST(Peer, AddressIsAllOfIpv4AndThePrefixOfIpv6) {
  EXPECT_EQ(Peer("ipv4:10.1.2.3:50312").address, "10.1.2.3");
  EXPECT_EQ(Peer("ipv6:[2001:db8:1:2:3:4:5:6]:50312").address, "2001:db8:1:2::");
  EXPECT_EQ(Peer("ipv6:[2001:db8:1:2::9]:1").address, "2001:db8:1:2::");
  EXPECT_EQ(Peer("ipv6:[fe80::1%2]:50312").address, "fe80::");
  EXPECT_EQ(Peer("ipv6:[fe80::1%2]:50312").connection, "ipv6:[fe80::1%2]:50312");
  EXPECT_EQ(Peer("unix:").address, "unix:");
}

TEST(Peer, SocketsAreNamedAsGrpcNamesThem) {
  EXPECT_EQ(NameOfPeer(Ipv4("10.1.2.3", 50312)), "ipv4:10.1.2.3:50312");
  EXPECT_EQ(NameOfPeer(Ipv6("::1", 50312)), "ipv6:[::1]:50312");
  EXPECT_EQ(NameOfPeer(Ipv6("::ffff:10.1.2.3", 50312)), "ipv4:10.1.2.3:50312");
  sockaddr_storage unix_socket{};
  unix_socket.ss_family = AF_UNIX;
  EXPECT_EQ(NameOfPeer(unix_socket), "unix:");
  EXPECT_EQ(AddressOfPeer(unix_socket), "");
}

TEST(Peer, BothSaysOfAnAddressAgree) {
  for (const sockaddr_storage& peer :
       {Ipv4("10.1.2.3", 1), Ipv6("2001:db8:1:2:3:4:5:6", 1), Ipv6("::1", 1), Ipv6("::ffff:10.1.2.3", 1)}) {
    EXPECT_EQ(Peer(NameOfPeer(peer)).address, AddressOfPeer(peer));
  }
}

TEST(Peer, AnotherAddressGivesWayWhereItKeepsNoLessThanTheNewcomerGets) {
  const Peer holder("ipv4:1.1.1.1:1"), newcomer("ipv4:2.2.2.2:1");
  EXPECT_TRUE(GivesWay({holder, {.of_address = 6, .of_connection = 1}}, {newcomer, {3, 3}}, 2));
  EXPECT_FALSE(GivesWay({holder, {.of_address = 5, .of_connection = 5}}, {newcomer, {3, 0}}, 2));
}

TEST(Peer, ConnectionsOfOneAddressAreComparedWithEachOther) {
  const Peer holder("ipv4:1.1.1.1:1"), newcomer("ipv4:1.1.1.1:2");
  EXPECT_TRUE(GivesWay({holder, {.of_address = 5, .of_connection = 4}}, {newcomer, {5, 1}}, 2));
  EXPECT_FALSE(GivesWay({holder, {.of_address = 5, .of_connection = 3}}, {newcomer, {5, 1}}, 2));
  EXPECT_FALSE(GivesWay({holder, {9, 9}}, {holder, {9, 9}}, 1)) << "nor does a connection to itself";
}

}  // namespace
}  // namespace latentd
