#include "tests/bench/report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <hwy/highway.h>
#include <nlohmann/json.hpp>

#include "base/processors.h"
#include "base/quoting.h"

namespace latentd {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kSmallestPrintedShare = 0.01;

constexpr std::string_view kFlags[] = {"avx2",        "fma",         "avx512f",  "avx512bw",
                                       "avx512_vbmi", "avx512_bf16", "amx_tile", "amx_bf16"};

std::string Text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What /proc/cpuinfo says of the first processor.
std::string CpuinfoField(const std::string& cpuinfo, const std::string& name) {
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(cpuinfo, '\n'))) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (std::string(absl::StripAsciiWhitespace(line.substr(0, colon))) != name) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "unknown";
}

// The lowest bit is the best of the targets that were built and this machine has.
std::string BestTarget() {
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(targets & -targets);
}

// "[always]" of "always madvise never" is what holds.
std::string HugePages() {
  const std::string choices = Text("/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t begin = choices.find('['), end = choices.find(']');
  if (begin == std::string::npos || end == std::string::npos) return "unknown";
  return choices.substr(begin + 1, end - begin - 1);
}

Json OfRoofs(const Roofs& roofs) {
  return {{"threads", roofs.threads},
          {"read_bytes_per_second", roofs.read},
          {"read_streams", roofs.streams},
          {"fma_flops_per_second", roofs.fma},
          {"tile_flops_per_second", roofs.tiles}};
}

Json OfFigure(const Figure& figure, const Roofs& roofs) {
  const Binding binding = BindingOf(figure, roofs);
  Json json = {{"name", figure.name},
               {"threads", figure.threads},
               {"seconds", figure.seconds},
               {"bytes", figure.cost.bytes},
               {"flops", figure.cost.flops},
               {"bytes_per_second", figure.cost.bytes / figure.seconds},
               {"flops_per_second", figure.cost.flops / figure.seconds},
               {"roof", binding.roof},
               {"fraction", binding.fraction}};
  if (figure.tokens > 0) json["tokens_per_second"] = figure.tokens / figure.seconds;
  if (figure.share > 0) json["share_of_step"] = figure.share;
  if (figure.speedup > 0) {
    json["tokens_per_row"] = figure.row_tokens;
    json["speedup"] = figure.speedup;
    json["predicted_speedup"] = figure.predicted_speedup;
  }
  return json;
}

}  // namespace

MachineFacts ThisMachine() {
  const std::string cpuinfo = Text("/proc/cpuinfo");
  const std::vector<std::string> present = absl::StrSplit(CpuinfoField(cpuinfo, "flags"), ' ');
  MachineFacts machine{.cpu = CpuinfoField(cpuinfo, "model name"),
                       .processors = cpu::FindComputeThreads().count,
                       .instruction_set = BestTarget(),
                       .flags = {},
                       .huge_pages = HugePages()};
  for (const std::string_view flag : kFlags) {
    if (std::find(present.begin(), present.end(), flag) != present.end()) machine.flags.emplace_back(flag);
  }
  return machine;
}

Binding BindingOf(const Figure& figure, const Roofs& roofs) {
  if (figure.cost.flops == 0) return {.roof = "none", .fraction = 0.0};
  const bool has_tiles = figure.tile_flops > 0 && roofs.tiles > 0;
  const double read = roofs.read > 0 ? figure.cost.bytes / roofs.read : 0.0;
  const double on_tiles = has_tiles ? figure.tile_flops : 0.0;
  const double multiply = (figure.cost.flops - on_tiles) / roofs.fma + (has_tiles ? on_tiles / roofs.tiles : 0.0);
  if (read >= multiply) return {.roof = "read", .fraction = read / figure.seconds};
  return {.roof = has_tiles ? "tiles" : "fma", .fraction = multiply / figure.seconds};
}

Report::Report(std::string command, std::string commit)
    : command_(std::move(command)), commit_(std::move(commit)), machine_(ThisMachine()) {
  std::printf("%s, %d processors, %s, huge pages: %s\n", machine_.cpu.c_str(), machine_.processors,
              machine_.instruction_set.c_str(), machine_.huge_pages.c_str());
}

const Roofs& Report::RoofsOf(int threads) {
  const auto [entry, is_new] = roofs_.try_emplace(threads);
  if (is_new) {
    entry->second = MeasureRoofs(threads);
    const Roofs& roofs = entry->second;
    const std::string tiles =
        roofs.tiles > 0 ? absl::StrFormat("%.0f GFLOP/s of tiles", roofs.tiles * 1e-9) : "no tiles";
    std::printf("ceilings with %d threads: read %.1f GB/s (%d streams each), fp32 multiply-add %.0f GFLOP/s, %s\n",
                threads, roofs.read * 1e-9, roofs.streams, roofs.fma * 1e-9, tiles.c_str());
    std::fflush(stdout);
  }
  return entry->second;
}

void Report::Add(const Figure& figure) {
  const Roofs& roofs = RoofsOf(figure.threads);
  figures_.push_back(figure);
  if (figure.share > 0 && figure.share < kSmallestPrintedShare) return;
  const Binding binding = BindingOf(figure, roofs);
  std::printf("%-72s %2d %11.1f us %7.2f GB/s %8.1f GFLOP/s", figure.name.c_str(), figure.threads, figure.seconds * 1e6,
              figure.cost.bytes / figure.seconds * 1e-9, figure.cost.flops / figure.seconds * 1e-9);
  if (binding.fraction > 0) std::printf(" %5.1f %% of %-5s", 100.0 * binding.fraction, binding.roof.c_str());
  if (figure.tokens > 0) std::printf(" %8.1f tokens/s", figure.tokens / figure.seconds);
  if (figure.share > 0) std::printf(" %5.1f %% of the step", 100.0 * figure.share);
  if (figure.speedup > 0) {
    std::printf(" %5.2f x, %.2f predicted, %.2f tokens a row", figure.speedup, figure.predicted_speedup,
                figure.row_tokens);
  }
  std::printf("\n");
  std::fflush(stdout);
}

absl::Status Report::Write(const std::string& path) const {
  Json json = {{"command", command_},
               {"commit", commit_.empty() ? Json(nullptr) : Json(commit_)},
               {"machine",
                {{"cpu", machine_.cpu},
                 {"processors", machine_.processors},
                 {"instruction_set", machine_.instruction_set},
                 {"flags", machine_.flags},
                 {"huge_pages", machine_.huge_pages}}}};
  json["roofs"] = Json::array();
  for (const auto& [threads, roofs] : roofs_) json["roofs"].push_back(OfRoofs(roofs));
  json["figures"] = Json::array();
  for (const Figure& figure : figures_) json["figures"].push_back(OfFigure(figure, roofs_.at(figure.threads)));
  std::ofstream file(path, std::ios::trunc);
  file << json.dump(1) << "\n";
  file.close();
  if (file.good()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrFormat("--json: expected a file that can be written, found %s", Quoted(path)));
}

}  // namespace latentd
