#include "engine/load/bytes_read.h"

#include <cmath>

#include <absl/strings/str_format.h>

namespace latentd {
namespace {

double GigabytesPerSecond(const BytesRead& bytes) {
  return bytes.seconds > 0.0 ? static_cast<double>(bytes.read) / 1e9 / bytes.seconds : 0.0;
}

}  // namespace

std::string ProgressText(const BytesRead& bytes) {
  const double read = static_cast<double>(bytes.read), total = static_cast<double>(bytes.total);
  const double percent = total > 0.0 ? std::floor(100.0 * read / total) : 100.0;
  return absl::StrFormat("weights: %.2f of %.2f GB (%.0f %%), %.2f GB/s, %.0f s left", read / 1e9, total / 1e9, percent,
                         GigabytesPerSecond(bytes), std::ceil(SecondsLeft(bytes)));
}

double SecondsLeft(const BytesRead& bytes) {
  if (bytes.read == 0) return 0.0;
  return static_cast<double>(bytes.total - bytes.read) / static_cast<double>(bytes.read) * bytes.seconds;
}

std::string StageText(const BytesRead& bytes) {
  if (bytes.total == 0) return "its files are being opened";
  if (bytes.read == bytes.total) return "weights: all read; what is left takes moments";
  return ProgressText(bytes);
}

std::string SummaryText(const BytesRead& bytes) {
  return absl::StrFormat("weights: %.2f GB in %.2f s (%.2f GB/s)", static_cast<double>(bytes.read) / 1e9, bytes.seconds,
                         GigabytesPerSecond(bytes));
}

}  // namespace latentd
