#include "tools/load/compare_command.h"

#include <iostream>
#include <memory>

#include "tools/load/compare.h"

namespace latentd {
namespace {

constexpr int kInvalid = 2;

struct CompareOptions {
  std::string a, b;
  std::vector<std::string> gates;
};

absl::StatusOr<int> RunCompare(const CompareOptions& options) {
  std::vector<Gate> gates;
  for (const std::string& text : options.gates) {
    absl::StatusOr<Gate> gate = ParseGate(text);
    if (!gate.ok()) return gate.status();
    gates.push_back(*std::move(gate));
  }
  const absl::StatusOr<ComparedRun> a = ReadReport(options.a);
  if (!a.ok()) return a.status();
  const absl::StatusOr<ComparedRun> b = ReadReport(options.b);
  if (!b.ok()) return b.status();
  const absl::StatusOr<Comparison> comparison = Compare(*a, *b, gates);
  if (!comparison.ok()) return comparison.status();
  std::cout << comparison->table;
  if (!comparison->holds) return 1;
  if (a->is_valid && b->is_valid) return 0;
  std::cout << "INVALID: the client of run " << (a->is_valid ? "B" : "A")
            << " lagged; its figures are not the server's\n";
  return kInvalid;
}

}  // namespace

Command AddCompareCommand(Command load, int& code) {
  Command command = load.AddCommand("compare", "Compare two runs that --json wrote");
  command.SetFooter(
      "Exit code: 0 each gate holds; 1 one does not, or the runs can't be compared; 2 they hold, but a run is "
      "INVALID.");
  const auto options = std::make_shared<CompareOptions>();
  command.Add({.name = "A", .target = &options->a, .help = "The report to compare with", .is_required = true});
  command.Add({.name = "B", .target = &options->b, .help = "The report that gates judge", .is_required = true});
  command.Add({.name = "--gate",
               .target = &options->gates,
               .help =
                   "What must hold, such as ttft.p99<=1.1x, output_tokens_per_second>=0.95x or unexpected<=0; may be "
                   "given several times"});
  command.OnParsed([options, &code] {
    const absl::StatusOr<int> result = RunCompare(*options);
    code = result.ok() ? *result : 1;
    if (!result.ok()) std::cerr << "latentctl load compare: " << result.status().message() << "\n";
  });
  return command;
}

}  // namespace latentd
