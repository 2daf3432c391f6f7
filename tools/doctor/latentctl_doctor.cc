// `latentctl doctor`: looks at what a daemon with these flags, this environment and this file would find on this
// machine, before it is started or beside it. A program of its own: it holds the loader, which clients do not need.
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/file_faults.h"
#include "base/processors.h"
#include "base/standard_descriptors.h"
#include "server/config/parse_config.h"
#include "server/process/descriptors.h"
#include "server/process/thread_room.h"
#include "tools/doctor/config_checks.h"
#include "tools/doctor/finding.h"
#include "tools/doctor/listener_checks.h"
#include "tools/doctor/machine_checks.h"
#include "tools/doctor/model_checks.h"
#include "tools/doctor/report.h"

namespace latentd {
namespace {

constexpr char kProgram[] = "latentctl doctor";
constexpr char kHelp[] =
    "Looks at configuration, model, memory, cores, limits, addresses and clock as a daemon would find them here.\n"
    "Usage: latentctl doctor [--json] [flags of latentd]\n\n"
    "It takes latentd's flags, its variables (LATENTD_MAX_ROWS) and its --config file; latentd --help lists them.\n"
    "One line for each check: ok, warning or error, what was found, what to do. No weight is read, nothing is "
    "written.\n"
    "  --json      A JSON object for each line: check, severity, found, advice\n\n"
    "Exit code 0: a daemon would start; 1: there is an error.\n";

struct Arguments {
  std::vector<std::string> flags;  // the daemon's
  bool is_json = false;
  bool asks_for_help = false;
};

Arguments TakeOwn(int argc, const char* const* argv) {
  Arguments own;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (i == 1 && argument == "doctor") continue;
    own.is_json = own.is_json || argument == "--json";
    own.asks_for_help = own.asks_for_help || argument == "--help" || argument == "-h";
    if (argument != "--json") own.flags.push_back(argument);
  }
  return own;
}

// The machine first: it is there whatever the configuration says.
int Examine(const Arguments& arguments) {
  Findings findings;
  CheckClock(ReadClock(), findings);
  CheckHugePages("/", findings);
  CheckCgroups("/", findings);
  const std::optional<ParsedConfig> parsed = CheckConfig(arguments.flags, ReadEnvironment(), findings);
  if (parsed && !parsed->answer.empty()) {
    std::cout << parsed->answer;
    return 0;
  }
  if (parsed) {
    const Config& config = parsed->config;
    CheckWrittenFiles(config, findings);
    CheckCores(config, cpu::FindProcessors(), findings);
    CheckLimits(config, findings);
    CheckListeners(config, findings);
    CheckModel(config, findings);
    for (Finding& finding : findings) finding.found = WithOrigin(finding.found, *parsed);
  }
  std::cout << (arguments.is_json ? JsonReport(findings) : TextReport(findings));
  return ExitCodeOf(findings);
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  latentd::RaiseDescriptorLimit();
  latentd::cpu::GiveThreadsFullStacks();
  latentd::EndOnFileFaults(latentd::kProgram, latentd::FaultLine::kText);
  const latentd::Arguments arguments = latentd::TakeOwn(argc, argv);
  if (arguments.asks_for_help) std::cout << latentd::kHelp;
  return latentd::FinishStandardOutput(latentd::kProgram, arguments.asks_for_help ? 0 : latentd::Examine(arguments));
}
