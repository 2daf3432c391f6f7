#include "server/grpc/library_logs.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include <absl/strings/match.h>
#include <absl/strings/str_format.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "server/process/logging.h"

namespace latentd {
namespace {

// What gRPC calls an error though it is what a peer sent: a level that any client can raise says nothing. All else,
// its transport's and its listeners' own failures among it, is an error.
struct PeersFault {
  std::string_view file;     // its path's end
  std::string_view message;  // a part of it; empty: whatever that file says
};
constexpr PeersFault kPeersFaults[] = {
    {"/chttp2/transport/parsing.cc", ""},        {"/chttp2/transport/frame_settings.cc", ""},
    {"/chttp2/transport/hpack_parser.cc", ""},   {"/chttp2/transport/hpack_parser_table.cc", ""},
    {"/chttp2/transport/bin_decoder.cc", ""},    {"/compression/message_compress.cc", "zlib"},
    {"/surface/call.cc", "ompression algorithm"}};

bool IsOfPeers(std::string_view file, std::string_view message) {
  return std::any_of(std::begin(kPeersFaults), std::end(kPeersFaults), [&](const PeersFault& fault) {
    return file.ends_with(fault.file) && message.find(fault.message) != std::string_view::npos;
  });
}

void LogGrpc(gpr_log_func_args* args) {
  // gRPC aborts next, and of what the log's thread has yet to write nothing would be seen.
  if (absl::StartsWith(args->message, "assertion failed")) {
    LogFatal(
        absl::StrFormat("gRPC cannot go on (%s, line %d): %s; the limits of descriptors, threads and memory may be "
                        "too low (ulimit -a)",
                        args->file, args->line, args->message));
    _exit(1);
  }
  const bool is_error = args->severity == GPR_LOG_SEVERITY_ERROR && !IsOfPeers(args->file, args->message);
  const auto level = is_error ? spdlog::level::err : spdlog::level::debug;
  spdlog::log(level, "grpc: {}:{}: {}", args->file, args->line, args->message);
}

void LogProtobuf(google::protobuf::LogLevel, const char* file, int line, const std::string& message) {
  spdlog::debug("protobuf: {}:{}: {}", file, line, message);
}

}  // namespace

void RouteLibraryLogs() {
  gpr_set_log_function(&LogGrpc);
  google::protobuf::SetLogHandler(&LogProtobuf);
}

}  // namespace latentd
