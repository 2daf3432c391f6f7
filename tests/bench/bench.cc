// The bench's command line: kernels, whole models and what drafts gain, beside the ceilings of this machine, which are
// measured in the same run.
#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/str_join.h>

#include "base/command_line.h"
#include "base/processors.h"
#include "kernels/backend.h"
#include "tests/bench/kernel_bench.h"
#include "tests/bench/model_bench.h"
#include "tests/bench/random_model.h"
#include "tests/bench/scratch_directory.h"
#include "tests/bench/speculation_bench.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

struct Flags {
  bool runs_kernels = false, runs_model = false, runs_speculation = false;
  int threads = 0;
  std::vector<std::string> activations;
  std::string json;
  std::string commit;
  bool tiny = false;
  std::string only;
  std::string model;
  std::optional<double> acceptance;
  std::vector<uint32_t> streams;
  std::string before, after;
};

// Those that this build computes, of the ones asked for; none asked for means all.
std::vector<ActivationFormat> FormatsOf(const Flags& flags) {
  const Backend backend = OrDie(MakeCpuBackend(1));
  std::vector<ActivationFormat> formats;
  for (const ActivationFormat format : backend.ops->activation_formats()) {
    const auto& asked = flags.activations;
    const bool is_asked = std::find(asked.begin(), asked.end(), std::string(NameOf(format))) != asked.end();
    if (is_asked || asked.empty()) formats.push_back(format);
  }
  return formats;
}

void RunKernels(const Flags& flags, Report& report) {
  for (const int threads : ThreadCounts(cpu::ThreadsOrGranted(flags.threads))) {
    report.RoofsOf(threads);
    for (const ActivationFormat format : FormatsOf(flags)) {
      KernelBench options{.threads = threads, .activations = format, .only = flags.only};
      if (flags.tiny) {
        options.shape = TinyShape();
        options.cold_bytes = 1 << 20;
        options.seconds = 0.0;
        options.rounds = 1;
        options.rows = {1, 64};
        options.contexts = {64};
      }
      RunKernelBench(options, report);
    }
  }
}

void WriteModel(const BenchShape& shape, const std::filesystem::path& directory) {
  const absl::Status status = WriteRandomModel(shape, directory);
  if (!status.ok()) std::cerr << status.message() << std::endl;
  CHECK(status.ok());
}

void RunModel(const Flags& flags, Report& report) {
  std::optional<ScratchDirectory> folder;
  ModelBench options{.directory = flags.model, .name = flags.model};
  if (flags.model.empty()) {
    folder.emplace();
    options.directory = folder->path() / "model";
    options.name = flags.tiny ? "tiny model" : "V2-Lite x 3";
    WriteModel(flags.tiny ? TinyShape() : BenchShape(), options.directory);
  }
  options.threads = cpu::ThreadsOrGranted(flags.threads);
  if (flags.tiny) {
    options.decode_steps = 2;
    options.rounds = 1;
    options.prompt_tokens = 256;
    options.long_context = 512;
  }
  report.RoofsOf(options.threads);
  for (const ActivationFormat format : FormatsOf(flags)) {
    options.activations = format;
    RunModelBench(options, report);
  }
}

void RunSpeculation(const SpeculationBench& model, const Flags& flags, Report& report) {
  SpeculationBench options = model;
  options.threads = cpu::ThreadsOrGranted(flags.threads);
  if (!flags.streams.empty()) options.streams.assign(flags.streams.begin(), flags.streams.end());
  if (flags.tiny) {
    options.streams = {1, 3};
    options.tokens = options.least_of_stream = 16;
    options.rounds = 1;
  }
  report.RoofsOf(options.threads);
  for (const ActivationFormat format : FormatsOf(flags)) {
    // What drafts gain hardly depends on it, and each takes minutes.
    if (flags.activations.empty() && format != ActivationFormat::kF32) continue;
    options.activations = format;
    RunSpeculationBench(options, report);
  }
}

// A random module's drafts are never right: they are forced to be as often as a trained one's are.
void RunMadeSpeculation(const BenchShape& shape, SpeculationBench options, const Flags& flags, Report& report) {
  const ScratchDirectory folder;
  options.directory = folder.path() / "model";
  WriteModel(shape, options.directory);
  const std::vector<double> usual = {0.6, 0.85};
  for (const double acceptance : flags.acceptance ? std::vector{*flags.acceptance} : usual) {
    options.acceptance = acceptance;
    RunSpeculation(options, flags, report);
  }
}

void RunSpeculation(const Flags& flags, Report& report) {
  if (!flags.model.empty()) {
    RunSpeculation({.directory = flags.model, .name = flags.model, .acceptance = flags.acceptance, .rounds = 15}, flags,
                   report);
  } else if (flags.tiny) {
    RunMadeSpeculation(TinySpeculationShape(), {.name = "tiny model"}, flags, report);
  } else {
    RunMadeSpeculation(SpeculationShape(), {.name = "V2-Lite x 6"}, flags, report);
    RunMadeSpeculation(DenseSpeculationShape(), {.name = "V2-Lite x 27, dense", .streams = {1, 4}}, flags, report);
  }
}

void AddCommon(Command command, Flags& flags) {
  command.Add({.name = "--threads", .target = &flags.threads, .help = "Default: what the machine grants"});
  command.Add({.name = "--activations",
               .target = &flags.activations,
               .help = "fp32, bf16, fp8, separated by commas; default: all that this build has",
               .delimiter = ','});
  command.Add({.name = "--json", .target = &flags.json, .help = "Writes the figures to this file, too"});
  command.Add({.name = "--commit", .target = &flags.commit, .help = "Named in that file"});
  command.Add({.name = "--tiny", .target = &flags.tiny, .help = "Sizes of a test, whose figures mean nothing"});
}

void AddKernels(Command command, Flags& flags) {
  command.Add({.name = "--only", .target = &flags.only, .help = "Kernels whose names hold this text"});
}

void AddModel(Command command, Flags& flags) {
  command.Add({.name = "--model",
               .target = &flags.model,
               .help = "A model's directory; default: some layers of V2-Lite's shape, made for the run"});
}

void AddSpeculation(Command command, Flags& flags) {
  command.Add({.name = "--acceptance",
               .target = &flags.acceptance,
               .help = "How often a draft is right, whatever the model drafts; default of made models: 0.6 and 0.85"});
  command.Add({.name = "--streams",
               .target = &flags.streams,
               .help = "Numbers of streams, separated by commas; default: 1,4,16,32",
               .delimiter = ','});
}

void AddCommands(Command root, Flags& flags) {
  Command kernels = root.AddCommand("kernels", "Every verb alone, for 1, 2, 4 … threads");
  AddCommon(kernels, flags);
  AddKernels(kernels, flags);
  kernels.OnParsed([&flags] { flags.runs_kernels = true; });
  Command model = root.AddCommand("model", "Steps of a whole model, and what each verb has of them");
  AddCommon(model, flags);
  AddModel(model, flags);
  model.OnParsed([&flags] { flags.runs_model = true; });
  Command speculation = root.AddCommand("speculation", "What drafts gain");
  AddCommon(speculation, flags);
  AddModel(speculation, flags);
  AddSpeculation(speculation, flags);
  speculation.OnParsed([&flags] { flags.runs_speculation = true; });
  Command all = root.AddCommand("all", "Everything");
  AddCommon(all, flags);
  AddKernels(all, flags);
  AddModel(all, flags);
  all.OnParsed([&flags] { flags.runs_kernels = flags.runs_model = flags.runs_speculation = true; });
  Command compare = root.AddCommand("compare", "Two files of --json as one table");
  compare.Add({.name = "BEFORE", .target = &flags.before, .help = "The first", .is_required = true});
  compare.Add({.name = "AFTER", .target = &flags.after, .help = "The second", .is_required = true});
}

int Finish(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "bench: " << status.message() << std::endl;
  return 1;
}

int Compare(const Flags& flags) {
  const absl::StatusOr<std::string> table = CompareReports(flags.before, flags.after);
  if (table.ok()) std::cout << *table;
  return Finish(table.status());
}

}  // namespace

int RunBench(int argc, char** argv) {
  CommandLine line("bench", "Kernels and whole models beside the ceilings of this machine.");
  Flags flags;
  AddCommands(line.root(), flags);
  const ParsedLine parsed = line.Parse(argc, argv);
  if (parsed.answer) {
    std::cout << *parsed.answer;
    return 0;
  }
  if (!parsed.error.empty()) {
    std::cerr << parsed.error << "\nRun with --help for more information." << std::endl;
    return 2;
  }
  if (!flags.runs_kernels && !flags.runs_model && !flags.runs_speculation) return Compare(flags);
  Report report(absl::StrJoin(std::vector<std::string>(argv, argv + argc), " "), flags.commit);
  if (flags.runs_kernels) RunKernels(flags, report);
  if (flags.runs_model) RunModel(flags, report);
  if (flags.runs_speculation) RunSpeculation(flags, report);
  return flags.json.empty() ? 0 : Finish(report.Write(flags.json));
}

}  // namespace latentd

int main(int argc, char** argv) { return latentd::RunBench(argc, argv); }
