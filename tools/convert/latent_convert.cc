// The command line of latent-convert: checkpoints looked at, checked, and turned into other checkpoints.
#include <cstdint>
#include <functional>
#include <iostream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/command_line.h"
#include "base/file.h"
#include "base/file_faults.h"
#include "base/quoting.h"
#include "base/standard_descriptors.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "tools/convert/conversions.h"
#include "tools/convert/inspection.h"
#include "tools/convert/output_directory.h"
#include "tools/convert/pack.h"
#include "tools/convert/random_checkpoint.h"

namespace latentd {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;  // as shells report a program that SIGINT ended

struct Flags {
  Route route;
  bool force = false;
  bool json = false;
  std::string quantized_dtype = "fp8";
  std::string scale_format;
  std::string int4_tensors;
  std::string int4_scales;
  uint64_t max_shard_bytes = 0;
  RandomCheckpoint random;
  std::string dtype = "bf16";  // of the random checkpoint
};

// One line on stderr for each problem; the status sums them up.
absl::Status Verify(const std::filesystem::path& directory) {
  const absl::StatusOr<ModelConfig> config = LoadModelConfig(directory);
  if (!config.ok()) return config.status();
  const std::vector<absl::Status> problems = Checkpoint::FindProblems(directory, *config);
  if (problems.size() <= 1) {
    const absl::StatusOr<Checkpoint> checkpoint = Checkpoint::Open(directory, *config);
    if (!checkpoint.ok()) return checkpoint.status();
    if (!problems.empty()) return InFile(directory, problems.front());
    for (const std::string& warning : checkpoint->warnings()) std::cerr << "warning: " << warning << "\n";
    std::cout << "ok: " << checkpoint->tensor_bytes() << " bytes of tensors\n";
    return absl::OkStatus();
  }
  for (const absl::Status& problem : problems) std::cerr << problem.message() << "\n";
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s%d problems", Quoted(directory.string()),
                                                    problems.size() == Checkpoint::kMaxProblems ? "the first " : "",
                                                    problems.size()));
}

absl::Status PrintInspection(const Flags& flags) {
  const absl::StatusOr<std::string> report =
      Inspect(flags.route.from, flags.json ? ReportFormat::kJson : ReportFormat::kText);
  if (report.ok()) std::cout << *report;
  return report.status();
}

Flag From(Flags& flags, const std::string& help) {
  return {.name = "DIR", .target = &flags.route.from, .help = help, .is_required = true};
}

Flag To(std::filesystem::path& directory) {
  return {
      .name = "OUT", .target = &directory, .help = "The directory to write, which must not exist", .is_required = true};
}

void AddReaders(Command program, Flags& flags, absl::Status& status) {
  Command inspect = program.AddCommand("inspect", "Tensors, parameters, cache, and what fits this machine");
  inspect.Add(From(flags, "The checkpoint"));
  inspect.Add({.name = "--json", .target = &flags.json, .help = "The report as JSON"});
  inspect.OnParsed([&] { status = PrintInspection(flags); });

  Command verify = program.AddCommand("verify", "Read every byte and check it as the daemon would");
  verify.Add(From(flags, "The checkpoint"));
  verify.OnParsed([&] { status = Verify(flags.route.from); });
}

// A subcommand that writes a checkpoint; `convert` runs once the line is parsed.
Command AddWriter(Command program, const std::string& name, const std::string& what, Flags& flags) {
  Command command = program.AddCommand(name, what);
  command.Add({.name = "--force", .target = &flags.force, .help = "Replaces a checkpoint of that name"});
  return command;
}

Command AddConversion(Command program, const std::string& name, const std::string& what, Flags& flags) {
  Command command = AddWriter(program, name, what, flags);
  command.Add(From(flags, "The checkpoint to read"));
  command.Add(To(flags.route.to));
  return command;
}

void Run(Command command, Flags& flags, absl::Status& status, std::function<absl::Status()> convert) {
  command.OnParsed([&flags, &status, convert = std::move(convert)] {
    CatchInterrupts();
    flags.route.existing = flags.random.existing = flags.force ? Existing::kReplace : Existing::kRefuse;
    status = convert();
  });
}

DType DTypeNamed(const std::string& name) {
  if (name == "f32") return DType::kF32;
  if (name == "int4") return DType::kInt4;
  return name == "fp8" ? DType::kE4M3 : DType::kBf16;
}

Int4Tensors Int4TensorsNamed(const std::string& name) {
  return name == "projections" ? Int4Tensors::kProjections : Int4Tensors::kRoutedExperts;
}

// A flag that says how something is done is not ignored where that is not done.
absl::Status CheckOnlyWith(const std::string& wanted, const std::string& dtype, const char* flag,
                           const std::string& value) {
  if (value.empty() || dtype == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected with --dtype %s, found --dtype %s", flag, wanted, dtype));
}

void AddInt4Tensors(Command command, Flags& flags) {
  command.Add({.name = "--tensors",
               .target = &flags.int4_tensors,
               .help = "What becomes int4: the routed experts, or all projections but kv_b; default: experts",
               .rule = OneOf({"experts", "projections"})});
}

void AddQuantize(Command program, Flags& flags, absl::Status& status) {
  Command quantize = AddConversion(program, "quantize", "BF16 or F32 projections to FP8 or INT4", flags);
  quantize.Add({.name = "--dtype",
                .target = &flags.quantized_dtype,
                .help = "fp8 in blocks of 128 x 128, or int4 in groups of 32; default: fp8",
                .rule = OneOf({"fp8", "int4"})});
  quantize.Add({.name = "--scale-format",
                .target = &flags.scale_format,
                .help = "Of fp8: f32, or ue8m0 for powers of two; default: f32",
                .rule = OneOf({"f32", "ue8m0"})});
  AddInt4Tensors(quantize, flags);
  quantize.Add({.name = "--scales",
                .target = &flags.int4_scales,
                .help = "Of int4: those of the least squared error, or from the largest magnitude; default: search",
                .rule = OneOf({"search", "nearest"})});
  Run(quantize, flags, status, [&flags] {
    const std::string& dtype = flags.quantized_dtype;
    absl::Status usage = CheckOnlyWith("fp8", dtype, "--scale-format", flags.scale_format);
    if (usage.ok()) usage = CheckOnlyWith("int4", dtype, "--tensors", flags.int4_tensors);
    if (usage.ok()) usage = CheckOnlyWith("int4", dtype, "--scales", flags.int4_scales);
    if (!usage.ok()) return usage;
    return Quantize(flags.route,
                    {.dtype = DTypeNamed(dtype),
                     .scale_format = flags.scale_format == "ue8m0" ? ScaleFormat::kUe8m0 : ScaleFormat::kF32,
                     .int4_tensors = Int4TensorsNamed(flags.int4_tensors),
                     .int4_scales = flags.int4_scales == "nearest" ? Int4Scales::kNearest : Int4Scales::kSearched});
  });
}

void AddConversions(Command program, Flags& flags, absl::Status& status) {
  AddQuantize(program, flags, status);

  Command dequantize = AddConversion(program, "dequantize", "FP8 or INT4 projections to BF16", flags);
  Run(dequantize, flags, status, [&flags] { return Dequantize(flags.route); });

  Command shard = AddConversion(program, "shard", "The same tensors in files of a size", flags);
  shard.Add({.name = "--max-shard-bytes",
             .target = &flags.max_shard_bytes,
             .help = "Bytes of tensors per file; a larger one lies alone",
             .rule = AboveZero(),
             .is_required = true});
  Run(shard, flags, status, [&flags] { return Reshard(flags.route, flags.max_shard_bytes); });

  Command pack =
      AddConversion(program, "pack", "The weights as the CPU backend computes with them, to be mapped", flags);
  Run(pack, flags, status, [&flags] {
    const absl::StatusOr<uint64_t> bytes = Pack(flags.route);
    if (bytes.ok()) std::cout << "packed: " << *bytes << " bytes\n";
    return bytes.status();
  });

  Command merge = AddConversion(program, "merge", "The same tensors in one file", flags);
  Run(merge, flags, status, [&flags] { return Reshard(flags.route, std::numeric_limits<uint64_t>::max()); });
}

void AddRandom(Command program, Flags& flags, absl::Status& status) {
  Command random = AddWriter(program, "random", "Random weights of a configuration, for benchmarks", flags);
  random.Add(To(flags.random.to));
  random.Add({.name = "--config",
              .target = &flags.random.config_json,
              .help = "The config.json of the model",
              .is_required = true});
  random.Add({.name = "--dtype",
              .target = &flags.dtype,
              .help = "bf16, f32, fp8 or int4; default: bf16",
              .rule = OneOf({"bf16", "f32", "fp8", "int4"})});
  AddInt4Tensors(random, flags);
  random.Add(
      {.name = "--seed", .target = &flags.random.seed, .help = "The same seed gives the same bytes; default: 1"});
  Run(random, flags, status, [&flags] {
    absl::Status usage = CheckOnlyWith("int4", flags.dtype, "--tensors", flags.int4_tensors);
    if (!usage.ok()) return usage;
    flags.random.dtype = DTypeNamed(flags.dtype);
    flags.random.int4_tensors = Int4TensorsNamed(flags.int4_tensors);
    return WriteRandomCheckpoint(flags.random);
  });
}

int ExitCode(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "latent-convert: " << OnOneLine(std::string(status.message())) << std::endl;
  return absl::IsCancelled(status) ? kExitInterrupted : kExitFailed;
}

}  // namespace

int RunLatentConvert(int argc, char** argv) {
  EndOnFileFaults("latent-convert", FaultLine::kText);
  CommandLine line("latent-convert", "Looks at checkpoints and converts them.");
  Flags flags;
  absl::Status status;
  AddReaders(line.root(), flags, status);
  AddConversions(line.root(), flags, status);
  AddRandom(line.root(), flags, status);
  const ParsedLine parsed = line.Parse(argc, argv);
  if (parsed.answer) {
    std::cout << *parsed.answer;
    return 0;
  }
  if (!parsed.error.empty()) {
    std::cerr << parsed.error << "\nRun with --help for more information." << std::endl;
    return kExitUsage;
  }
  return ExitCode(status);
}

}  // namespace latentd

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  return latentd::FinishStandardOutput("latent-convert", latentd::RunLatentConvert(argc, argv));
}
