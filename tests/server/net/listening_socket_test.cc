#include "server/net/listening_socket.h"

#include <filesystem>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<ListeningSocket> TryOpen(const std::string& text) {
  return ListeningSocket::Open(OrDie(ParseAddress(text, AddressUse::kGrpcListener)), "--listen");
}

ListeningSocket Open(const std::string& text) { return OrDie(TryOpen(text)); }

std::string Error(const std::string& text) {
  const auto opened = TryOpen(text);
  return opened.ok() ? "opened" : std::string(opened.status().message());
}

class SocketFileTest : public testing::Test {
 protected:
  std::string Path() const { return (folder_.path() / "socket").string(); }
  std::string Text() const { return "unix:" + Path(); }
  // As a daemon leaves it that was killed.
  void LeaveStaleSocket() const {
    const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    Path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    close(descriptor);
  }

  TemporaryDirectory folder_;
};

TEST(ListeningSocket, ThePortThatWasTakenIsTold) {
  for (const char* text : {"127.0.0.1:0", "localhost:0", "0.0.0.0:0"}) {
    const ListeningSocket socket = Open(text);
    EXPECT_GT(socket.address().port, 0);
    EXPECT_EQ(socket.address().kind, Address::Kind::kIpv4);
    EXPECT_THAT(Error(socket.address().ToString()), HasSubstr("Address already in use; choose another with --listen"));
  }
}

TEST(ListeningSocket, Ipv6IsBoundAsItStands) {
  const auto opened = TryOpen("[::1]:0");
  if (!opened.ok()) GTEST_SKIP() << "no IPv6 on this machine: " << opened.status();
  EXPECT_EQ(opened->address().host, "::1");
  EXPECT_GT(opened->address().port, 0);
}

TEST(ListeningSocket, TheWildcardTakesBothFamilies) {
  const ListeningSocket everywhere = Open("[::]:0");
  const std::string port = std::to_string(everywhere.address().port);
  EXPECT_THAT(Error("127.0.0.1:" + port), HasSubstr("in use"));
}

TEST(ListeningSocket, TheSystemsReasonIsTold) {
  EXPECT_THAT(Error("192.0.2.1:0"), AllOf(HasSubstr("192.0.2.1:0"), HasSubstr("assign requested address")));
  EXPECT_THAT(Error("no-such-host.invalid:0"), HasSubstr("found no-such-host.invalid:0: "));
  EXPECT_THAT(Error("unix:/nowhere/socket"), HasSubstr("No such file or directory"));
}

TEST(ListeningSocket, AnAddressIsFreeAgainAtOnce) {
  std::optional<ListeningSocket> first(Open("127.0.0.1:0"));
  const std::string address = first->address().ToString();
  first.reset();
  EXPECT_EQ(Open(address).address().ToString(), address);
}

TEST_F(SocketFileTest, TheFileIsRemovedAtTheEnd) {
  {
    const ListeningSocket socket = Open(Text());
    EXPECT_EQ(socket.address().ToString(), Text());
    EXPECT_TRUE(std::filesystem::is_socket(Path()));
  }
  EXPECT_FALSE(std::filesystem::exists(Path()));
}

TEST_F(SocketFileTest, ALiveOneIsNeverReplaced) {
  const ListeningSocket socket = Open(Text());
  EXPECT_THAT(Error(Text()), HasSubstr("another process listens there"));
  EXPECT_TRUE(std::filesystem::is_socket(Path()));
}

TEST_F(SocketFileTest, AStaleOneIsReplaced) {
  LeaveStaleSocket();
  const ListeningSocket socket = Open(Text());
  EXPECT_THAT(Error(Text()), HasSubstr("another process listens there"));
}

TEST_F(SocketFileTest, AFileOfAnotherKindIsNeverReplaced) {
  WriteFile(Path(), "precious");
  EXPECT_THAT(Error(Text()), HasSubstr("a file that is no socket lies there"));
  EXPECT_EQ(std::filesystem::file_size(Path()), 8u);
  std::filesystem::remove(Path());
  std::filesystem::create_symlink(folder_.path() / "elsewhere", Path());
  EXPECT_THAT(Error(Text()), HasSubstr("a file that is no socket lies there"));
}

TEST_F(SocketFileTest, AFileThatTookItsPlaceStays) {
  std::optional<ListeningSocket> socket(Open(Text()));
  std::filesystem::remove(Path());
  WriteFile(Path(), "another's");
  socket.reset();
  EXPECT_TRUE(std::filesystem::is_regular_file(Path()));
}

}  // namespace
}  // namespace latentd
