// Logs go to stderr through spdlog: a thread of its own writes them, out of a bounded queue that drops its oldest lines
// rather than make a thread wait, the end of the daemon included. RouteLibraryLogs (server/grpc/library_logs.h) sends
// the libraries' lines here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>
#include <spdlog/common.h>

#include "base/quoting.h"

namespace latentd {

enum class LogFormat { kText, kJson };

struct LoggingOptions {
  std::string level = "info";
  LogFormat format = LogFormat::kText;
};

// Names of levels, lowest first.
const std::vector<std::string>& LogLevels();

void StartLogging(const LoggingOptions& options);
// Writes the queued lines, as far as they are taken within moments; nothing can be logged after it.
void StopLogging();
// Sets the whole daemon's level, from the next line on. Gives the level before; INVALID_ARGUMENT with no details for an
// unknown name.
absl::StatusOr<std::string> SetLogLevel(const std::string& level);
// Why the daemon ends before it served: "latentd: why" on stderr, or an object of level critical.
void LogFatal(std::string_view why);
// The line that LogFatal writes, without a time: for a moment when no line can be composed.
std::string LineForLater(std::string_view why);
// Sets the format of lines before StartLogging, which sets it, too.
void SetLogFormat(LogFormat format);
// Uncaught exceptions, in any thread, and an abort of a library are said in such a line, too, and end the process
// with 1.
void ExplainTermination();

// The fields of one line: key=value with text quoted where it needs to be, or the members of a JSON object. Whatever
// bytes a value has, the line stays one line of printable ASCII.
class LogFields {
 public:
  void Add(std::string_view key, std::string_view value);
  void Add(std::string_view key, int value);
  void AddSeconds(std::string_view key, double value);

  const std::string& rendered() const { return rendered_; }

 private:
  void AddRaw(std::string_view key, std::string_view value);

  std::string rendered_;
};

// A line whose content is its fields; `event` says what kind it is.
void LogEvent(spdlog::level::level_enum level, std::string_view event, const LogFields& fields);

}  // namespace latentd
