#include "tools/doctor/port_holder.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

namespace fs = std::filesystem;

class PortHolders : public testing::Test {
 protected:
  PortHolders() {
    for (const char* folder : {"proc/net", "proc/self", "proc/71/fd", "proc/72/fd"}) {
      fs::create_directories(root() / folder);
    }
    Write("proc/71/comm", "nginx\n");
    Write("proc/72/comm", "latentd\n");
    fs::create_symlink("socket:[1001]", root() / "proc/71/fd/3");
    fs::create_symlink("/dev/null", root() / "proc/72/fd/0");
    fs::create_symlink("socket:[1002]", root() / "proc/72/fd/7");
  }
  void Write(const std::string& path, const std::string& text) { std::ofstream(root() / path) << text; }
  fs::path root() const { return folder_.path(); }
  PortHolder At(int port) const {
    return FindPortHolder({.kind = Address::Kind::kIpv4, .host = "127.0.0.1", .port = port}, root());
  }

  const TemporaryDirectory folder_;
};

constexpr char kHead[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

TEST_F(PortHolders, ListensAtThePort) {
  Write("proc/net/tcp", std::string(kHead) +
                            "   0: 0100007F:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1001 1\n"
                            "   1: 0100007F:C383 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 1001 1\n");
  Write("proc/net/tcp6", std::string(kHead) +
                             "   0: 00000000000000000000000000000000:C383 00000000000000000000000000000000:0000 0A "
                             "00000000:00000000 00:00000000 00000000 0 0 1002 1\n");
  EXPECT_EQ(At(9090).name, "nginx");
  EXPECT_EQ(At(9090).pid, 71);
  EXPECT_EQ(At(50051).name, "latentd");  // not the connection of the other
  EXPECT_EQ(At(80).name, "");
}

TEST_F(PortHolders, ListensAtThePath) {
  Write("proc/net/unix",
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 1002 /run/latentd.sock\n"
        "0000000000000000: 00000003 00000000 00000000 0001 03 1001\n");
  const Address path{.kind = Address::Kind::kUnix, .host = "/run/latentd.sock", .port = 0};
  EXPECT_EQ(FindPortHolder(path, root()).pid, 72);
}

TEST_F(PortHolders, IsUnknownWhereItsDescriptorsAreNotToBeSeen) {
  Write("proc/net/tcp", std::string(kHead) + "   0: 0100007F:2382 00000000:0000 0A 0:0 00:0 0 0 0 4444 1\n");
  EXPECT_EQ(At(9090).name, "");
}

}  // namespace
}  // namespace latentd
