#include "server/metrics/process_metrics.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <unistd.h>

namespace latentd {
namespace {

// Numbers of proc(5), which counts from 1; the name is 2.
constexpr size_t kUserTicks = 14, kSystemTicks = 15, kThreads = 20, kStartTicks = 22, kVirtualBytes = 23,
                 kResidentPages = 24;

std::string ReadWhole(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double BootSeconds() {
  std::istringstream words(ReadWhole("/proc/stat"));
  for (std::string word; words >> word;) {
    if (double seconds = 0.0; word == "btime" && words >> seconds) return seconds;
  }
  return 0.0;
}

double NumOpenFiles() {
  std::error_code error;
  double count = 0.0;
  for (std::filesystem::directory_iterator file("/proc/self/fd", error), end; !error && file != end;
       file.increment(error)) {
    ++count;
  }
  return count > 0.0 ? count - 1.0 : 0.0;  // without the one that lists them
}

}  // namespace

ProcessFacts ParseProcessStat(std::string_view stat, double boot_seconds) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return {};
  std::istringstream rest{std::string(stat.substr(name_end + 1))};
  std::array<double, kResidentPages + 1> fields{};
  std::string process_state;
  rest >> process_state;
  for (size_t i = 4; i < fields.size(); ++i) rest >> fields[i];
  if (!rest) return {};
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  return {.cpu_seconds = (fields[kUserTicks] + fields[kSystemTicks]) / ticks_per_second,
          .start_time_seconds = boot_seconds + fields[kStartTicks] / ticks_per_second,
          .resident_bytes = fields[kResidentPages] * static_cast<double>(sysconf(_SC_PAGESIZE)),
          .virtual_bytes = fields[kVirtualBytes],
          .num_threads = fields[kThreads]};
}

ProcessFacts ReadProcessFacts() {
  static const double boot_seconds = BootSeconds();
  ProcessFacts facts = ParseProcessStat(ReadWhole("/proc/self/stat"), boot_seconds);
  facts.num_open_files = NumOpenFiles();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.max_open_files = static_cast<double>(limit.rlim_cur);
  return facts;
}

}  // namespace latentd
