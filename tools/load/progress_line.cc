#include "tools/load/progress_line.h"

#include <iostream>

#include <absl/strings/str_format.h>
#include <unistd.h>

namespace latentd {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";

}  // namespace

bool ProgressLine::IsWanted() { return isatty(STDERR_FILENO) == 1; }

void ProgressLine::Show(const RunState& state) {
  const int64_t now = state.Now();
  const RunCounters& counters = state.counters;
  const uint64_t tokens = counters.output_tokens;
  const double seconds = static_cast<double>(now - last_moment_) * 1e-9;
  const double rate = seconds > 0.0 ? static_cast<double>(tokens - last_tokens_) / seconds : 0.0;
  last_moment_ = now;
  last_tokens_ = tokens;
  std::cerr << kClearLine
            << absl::StrFormat("%.1f s  %d in flight  %d done  %.0f tokens/s  %d failed%s",
                               static_cast<double>(now) * 1e-9, counters.in_flight.load(), counters.finished.load(),
                               rate, counters.failed.load(), state.is_stopping() ? "  stopping" : "")
            << std::flush;
}

void ProgressLine::Clear() const { std::cerr << kClearLine << std::flush; }

}  // namespace latentd
