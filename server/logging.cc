#include "server/logging.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace latentd {
namespace {

void LogGrpc(gpr_log_func_args* args) { spdlog::debug("grpc: {}:{}: {}", args->file, args->line, args->message); }

void LogProtobuf(google::protobuf::LogLevel, const char* file, int line, const std::string& message) {
  spdlog::debug("protobuf: {}:{}: {}", file, line, message);
}

}  // namespace

void StartLogging(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("latentd"));
  spdlog::set_level(spdlog::level::from_str(level));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  gpr_set_log_function(&LogGrpc);
  google::protobuf::SetLogHandler(&LogProtobuf);
}

}  // namespace latentd
