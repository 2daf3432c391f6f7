#include "tools/load/trace.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>
#include <nlohmann/json.hpp>

#include "tools/load/view.h"

namespace latentd {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxLines = 1'000'000;  // of a file that is held in memory
constexpr double kMaxTokens = 1e7;

absl::Status ReadNumber(const Json& line, const char* key, double low, double& number) {
  const auto found = line.find(key);
  if (found != line.end() && found->is_number()) number = found->get<double>();
  if (found != line.end() && found->is_number() && number >= low && std::isfinite(number)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("%s: expected a number from %g, found %s", key, low,
                                                    found == line.end() ? "none" : found->dump()));
}

absl::Status ReadLength(const Json& line, const char* key, double scale, uint32_t& tokens) {
  double length = 0.0;
  if (absl::Status status = ReadNumber(line, key, 0.0, length); !status.ok()) return status;
  const double scaled = std::max(1.0, std::round(length * scale));
  if (scaled > kMaxTokens) return absl::InvalidArgumentError(absl::StrFormat("%s: expected at most 1e7", key));
  tokens = static_cast<uint32_t>(scaled);
  return absl::OkStatus();
}

absl::Status ReadBlocks(const Json& line, std::vector<uint64_t>& ids) {
  if (!line.contains("hash_ids")) return absl::OkStatus();
  if (!line["hash_ids"].is_array()) return absl::InvalidArgumentError("hash_ids: expected an array of numbers");
  for (const Json& id : line["hash_ids"]) {
    if (!id.is_number_unsigned()) {
      return absl::InvalidArgumentError("hash_ids: expected whole numbers from 0, found " + id.dump());
    }
    ids.push_back(id.get<uint64_t>());
  }
  return absl::OkStatus();
}

absl::Status ParseEntry(std::string_view text, double scale, TraceEntry& entry) {
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return absl::InvalidArgumentError("expected a JSON object");
  absl::Status status = ReadNumber(line, "timestamp", 0.0, entry.seconds);
  entry.seconds *= 1e-3;
  status.Update(ReadLength(line, "input_length", scale, entry.input_tokens));
  status.Update(ReadLength(line, "output_length", scale, entry.output_tokens));
  status.Update(ReadBlocks(line, entry.block_ids));
  return status;
}

}  // namespace

absl::StatusOr<std::vector<TraceEntry>> ParseTrace(std::string_view contents, std::string_view name,
                                                   uint32_t block_tokens) {
  std::vector<TraceEntry> entries;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(View(contents), '\n')) {
    ++number;
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty()) continue;
    if (entries.size() == kMaxLines) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: expected at most %d requests", name, kMaxLines));
    }
    const double scale = static_cast<double>(block_tokens) / kTraceBlockTokens;
    if (absl::Status status = ParseEntry(View(text), scale, entries.emplace_back()); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", name, number, status.message()));
    }
  }
  if (entries.empty()) return absl::InvalidArgumentError(absl::StrFormat("%s: expected requests, found none", name));
  std::stable_sort(entries.begin(), entries.end(),
                   [](const TraceEntry& a, const TraceEntry& b) { return a.seconds < b.seconds; });
  const double first = entries.front().seconds;
  for (TraceEntry& entry : entries) entry.seconds -= first;
  return entries;
}

absl::StatusOr<std::vector<TraceEntry>> ReadTrace(const std::string& file, uint32_t block_tokens) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return absl::NotFoundError(absl::StrFormat("--trace: expected a readable file, found none at %s", file));
  const std::string contents(std::istreambuf_iterator<char>(stream), {});
  return ParseTrace(contents, file, block_tokens);
}

}  // namespace latentd
