#include "server/process/logging.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <execinfo.h>
#include <nlohmann/json.hpp>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/quoting.h"
#include "base/signal_mask.h"
#include "server/process/standard_error.h"

namespace latentd {
namespace {

// Lines that wait to be written: some seconds of a flood, and a few MiB.
constexpr size_t kMaxQueuedLines = 8192;
// Messages are cut here: a library's line may be as long as what a client sent.
constexpr size_t kMaxLoggedBytes = 4096;

// An event's logger has this name: its message is made of JSON members already.
constexpr char kEventLogger[] = "event";
constexpr char kPlainLogger[] = "latentd";

// The time that the last lines get at the daemon's end when they are not read.
constexpr std::chrono::milliseconds kLastLines{500};

std::atomic<LogFormat> format_in_use{LogFormat::kText};
std::shared_ptr<spdlog::details::thread_pool> writer;  // the loggers hold it weakly
std::shared_ptr<spdlog::async_logger> event_logger;

StandardError& Output() {
  static auto* output = new StandardError;  // never destroyed: destructors of other statics may log
  return *output;
}

// RFC 3339 in UTC with microseconds.
std::string TimeOf(spdlog::log_clock::time_point time) {
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since_epoch - seconds).count();
  const std::time_t whole = seconds.count();
  std::tm utc{};
  gmtime_r(&whole, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  return absl::StrFormat("%s.%06dZ", text, micros);
}

std::string_view ViewOf(const spdlog::string_view_t& text) { return {text.data(), text.size()}; }

// One JSON object per line, from any logger.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const bool is_event = ViewOf(message.logger_name) == kEventLogger;
    const std::string_view payload = ViewOf(message.payload);
    const std::string body =
        is_event ? std::string(payload) : "\"message\":" + QuoteForLog(payload.substr(0, kMaxLoggedBytes));
    const std::string text = absl::StrFormat("{\"time\":\"%s\",\"level\":\"%s\",%s}\n", TimeOf(message.time),
                                             ViewOf(spdlog::level::to_string_view(message.level)), body);
    line.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

std::string_view ColourOf(spdlog::level::level_enum level) {
  constexpr std::string_view kColours[] = {"\x1b[37m",        "\x1b[36m",        "\x1b[32m", "\x1b[33m\x1b[1m",
                                           "\x1b[31m\x1b[1m", "\x1b[1m\x1b[41m", "\x1b[m"};
  return kColours[level];
}

class StandardErrorSink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::string text(line.data(), line.size());
    if (format_in_use == LogFormat::kText) text = OnOneLine({line.data(), line.size() - 1}) + "\n";
    if (Output().is_terminal() && message.color_range_end > message.color_range_start) {
      text.insert(message.color_range_end, "\x1b[m");
      text.insert(message.color_range_start, ColourOf(message.level));
    }
    Output().Write(text);
  }
  void flush_() override {}
};

std::shared_ptr<spdlog::async_logger> MakeLogger(const char* name, const spdlog::sink_ptr& sink) {
  auto logger =
      std::make_shared<spdlog::async_logger>(name, sink, writer, spdlog::async_overflow_policy::overrun_oldest);
  spdlog::initialize_logger(logger);
  return logger;
}

// Needs no quotes in key=value: a reader that splits at blanks and at the first "=" gets it back.
bool IsPlain(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(),
                                       [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '='; });
}

}  // namespace

const std::vector<std::string>& LogLevels() {
  static const std::vector<std::string> levels = {"trace", "debug", "info", "warning", "error", "off"};
  return levels;
}

void StartLogging(const LoggingOptions& options) {
  format_in_use = options.format;
  // It runs before the daemon has decided how to take signals, and takes none itself.
  writer = std::make_shared<spdlog::details::thread_pool>(kMaxQueuedLines, 1, [] { BlockSignalsButFaults(); });
  const auto sink = std::make_shared<StandardErrorSink>();
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  event_logger = MakeLogger(kEventLogger, sink);
  spdlog::set_default_logger(MakeLogger(kPlainLogger, sink));
  // Loggers set their sinks' formatter as they are made.
  if (options.format == LogFormat::kJson) spdlog::set_formatter(std::make_unique<JsonFormatter>());
  spdlog::set_level(spdlog::level::from_str(options.level));
}

void StopLogging() {
  const size_t num_dropped = writer->overrun_counter();
  if (num_dropped > 0)
    spdlog::warn("{} log lines were dropped: they came faster than they could be written", num_dropped);
  spdlog::set_level(spdlog::level::off);  // threads of the libraries may still have something to say
  Output().SetDeadline(std::chrono::steady_clock::now() + kLastLines);
  writer.reset();
}

absl::StatusOr<std::string> SetLogLevel(const std::string& level) {
  const std::vector<std::string>& levels = LogLevels();
  if (std::find(levels.begin(), levels.end(), level) == levels.end()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected one of %s, found %s", absl::StrJoin(levels, ", "), QuotedExcerpt(level)));
  }
  const auto previous = spdlog::level::to_string_view(spdlog::get_level());
  spdlog::set_level(spdlog::level::from_str(level));
  return std::string(ViewOf(previous));
}

void SetLogFormat(LogFormat format) { format_in_use = format; }

void LogFatal(std::string_view why) {
  Output().SetDeadline(std::chrono::steady_clock::now() + kLastLines);
  if (format_in_use == LogFormat::kJson) {
    Output().Write(absl::StrFormat("{\"time\":\"%s\",\"level\":\"critical\",\"message\":%s}\n",
                                   TimeOf(spdlog::log_clock::now()), QuoteForLog(why)));
  } else {
    Output().Write(absl::StrFormat("latentd: %s\n", OnOneLine(why)));
  }
}

std::string LineForLater(std::string_view why) {
  if (format_in_use == LogFormat::kJson) {
    return absl::StrFormat("{\"level\":\"critical\",\"message\":%s}\n", QuoteForLog(why));
  }
  return absl::StrFormat("latentd: %s\n", OnOneLine(why));
}

namespace {

// LogFatal, or its line in a smaller way where there is no memory left to compose it.
void LogLastLine(const char* why) {
  try {
    LogFatal(why);
  } catch (...) {
    char line[512];
    const char* format =
        format_in_use == LogFormat::kJson ? "{\"level\":\"critical\",\"message\":\"%s\"}\n" : "latentd: %s\n";
    const int size = snprintf(line, sizeof(line), format, why);
    const size_t whole = std::min(static_cast<size_t>(size), sizeof(line) - 1);
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, whole);
  }
}

[[noreturn]] void OnTermination() {
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
    LogLastLine("ended by a library without a reason");
  } catch (const std::bad_alloc&) {
    LogLastLine("expected more memory than the system gives; raise ulimit -v, ulimit -d or the limit of the container");
  } catch (const std::system_error& error) {  // of a thread that could not be started
    char why[160];
    snprintf(why, sizeof(why), "expected another thread, found: %s; raise ulimit -v, ulimit -u or pids.max",
             error.what());
    LogLastLine(why);
  } catch (const std::exception& error) {
    LogLastLine(error.what());
  } catch (...) {
    LogLastLine("ended by an exception of an unknown type");
  }
  _exit(1);
}

// A library that finds no memory aborts without a word: gRPC's allocator does. With core dumps on, it still leaves one.
void OnAbort(int number) {
  constexpr std::string_view kText =
      "latentd: a library gave up; memory, threads or descriptors may have run out (ulimit -a)\n";
  constexpr std::string_view kJson =
      "{\"level\":\"critical\",\"message\":\"a library gave up; memory, threads or descriptors may have run out\"}\n";
  const std::string_view line = format_in_use == LogFormat::kJson ? kJson : kText;
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  rlimit cores{};
  if (getrlimit(RLIMIT_CORE, &cores) != 0 || cores.rlim_cur == 0) _exit(1);
  std::signal(number, SIG_DFL);
  std::raise(number);
}

}  // namespace

void ExplainTermination() {
  // Where an exception passes a frame of the C library, of pthread_once for one, that library looks for the unwinder.
  // It takes memory to find it, and without any the process aborts with a line that tells of a file missing. Once found
  // it is kept.
  void* frame = nullptr;
  backtrace(&frame, 1);
  std::set_terminate(&OnTermination);
  std::signal(SIGABRT, &OnAbort);
}

void LogFields::AddRaw(std::string_view key, std::string_view value) {
  const bool is_json = format_in_use == LogFormat::kJson;
  if (!rendered_.empty()) rendered_ += is_json ? ',' : ' ';
  if (is_json) {
    rendered_ += absl::StrFormat("\"%s\":%s", key, value);
  } else {
    rendered_ += absl::StrFormat("%s=%s", key, value);
  }
}

void LogFields::Add(std::string_view key, std::string_view value) {
  const bool is_bare = format_in_use == LogFormat::kText && IsPlain(value);
  AddRaw(key, is_bare ? std::string(value) : QuoteForLog(value));
}

void LogFields::Add(std::string_view key, int value) { AddRaw(key, std::to_string(value)); }

void LogFields::AddSeconds(std::string_view key, double value) { AddRaw(key, absl::StrFormat("%.6f", value)); }

void LogEvent(spdlog::level::level_enum level, std::string_view event, const LogFields& fields) {
  if (event_logger == nullptr) return;
  if (format_in_use == LogFormat::kJson) {
    event_logger->log(level, "\"event\":\"{}\",{}", event, fields.rendered());
  } else {
    event_logger->log(level, "{} {}", event, fields.rendered());
  }
}

}  // namespace latentd
