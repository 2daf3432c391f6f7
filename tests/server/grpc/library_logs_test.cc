#include "server/grpc/library_logs.h"

#include <string>

#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "server/process/logging.h"

namespace latentd {
namespace {

// In a process of its own, since it takes over the log. gRPC names its files as it was built with them.
TEST(LibraryLogs, GrpcsOwnErrorsStayErrorsAndThoseOfPeersDoNot) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto log = [] {
    StartLogging({});
    RouteLibraryLogs();
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);  // as gRPC does once it starts
    const auto say = [](const char* file, const char* text) { gpr_log(file, 1, GPR_LOG_SEVERITY_ERROR, "%s", text); };
    say("./src/core/ext/transport/chttp2/server/chttp2_server.cc", "own-channel");
    say("./src/core/ext/transport/chttp2/transport/chttp2_transport.cc", "own-keepalive");
    say("./src/core/lib/transport/handshaker.cc", "own-handshake");
    say("./src/core/lib/iomgr/tcp_server_posix.cc", "own-listener");
    say("./src/core/lib/surface/call.cc", "own-call");
    say("./src/core/lib/surface/call.cc", "Compression algorithm 'of-peer' is disabled.");
    say("./src/core/lib/surface/call.cc", "Invalid compression algorithm value 'of-peer'.");
    say("./src/core/lib/compression/message_compress.cc", "zlib error (of-peer)");
    for (const char* name : {"parsing", "frame_settings", "hpack_parser", "hpack_parser_table", "bin_decoder"}) {
      say(("./src/core/ext/transport/chttp2/transport/" + std::string(name) + ".cc").c_str(), "of-peer");
    }
    StopLogging();
    _exit(0);
  };
  EXPECT_EXIT(log(), testing::ExitedWithCode(0),
              testing::AllOf(testing::ContainsRegex(" error grpc: [^\n]*own-channel"),
                             testing::ContainsRegex(" error grpc: [^\n]*own-keepalive"),
                             testing::ContainsRegex(" error grpc: [^\n]*own-handshake"),
                             testing::ContainsRegex(" error grpc: [^\n]*own-listener"),
                             testing::ContainsRegex(" error grpc: [^\n]*own-call"),
                             testing::Not(testing::HasSubstr("of-peer"))));
}

}  // namespace
}  // namespace latentd
