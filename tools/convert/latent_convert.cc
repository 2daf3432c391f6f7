// The command line of latent-convert: checkpoints looked at, checked, and turned into other checkpoints.
#include <cstdint>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <absl/status/status.h>
#include <absl/strings/str_format.h>

#include "base/file_faults.h"
#include "base/mapped_file.h"
#include "base/one_line.h"
#include "base/standard_descriptors.h"
#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/config/model_config.h"
#include "tools/convert/conversions.h"
#include "tools/convert/inspection.h"
#include "tools/convert/output_directory.h"
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
  ScaleFormat scale_format = ScaleFormat::kF32;
  uint64_t max_shard_bytes = 0;
  RandomCheckpoint random;
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

void AddReaders(CLI::App& app, Flags& flags, absl::Status& status) {
  CLI::App* inspect = app.add_subcommand("inspect", "Tensors, parameters, cache, and what fits this machine");
  inspect->add_option("DIR", flags.route.from, "The checkpoint")->required();
  inspect->add_flag("--json", flags.json, "The report as JSON");
  inspect->callback([&] { status = PrintInspection(flags); });

  CLI::App* verify = app.add_subcommand("verify", "Read every byte and check it as the daemon would");
  verify->add_option("DIR", flags.route.from, "The checkpoint")->required();
  verify->callback([&] { status = Verify(flags.route.from); });
}

// A subcommand that writes a checkpoint; `convert` runs once the line is parsed.
CLI::App* AddWriter(CLI::App& app, const std::string& name, const std::string& what, Flags& flags) {
  CLI::App* command = app.add_subcommand(name, what);
  command->add_flag("--force", flags.force, "Replaces a checkpoint of that name");
  return command;
}

CLI::App* AddConversion(CLI::App& app, const std::string& name, const std::string& what, Flags& flags) {
  CLI::App* command = AddWriter(app, name, what, flags);
  command->add_option("DIR", flags.route.from, "The checkpoint to read")->required();
  command->add_option("OUT", flags.route.to, "The directory to write, which must not exist")->required();
  return command;
}

void Run(CLI::App& command, Flags& flags, absl::Status& status, std::function<absl::Status()> convert) {
  command.callback([&flags, &status, convert = std::move(convert)] {
    CatchInterrupts();
    flags.route.existing = flags.random.existing = flags.force ? Existing::kReplace : Existing::kRefuse;
    status = convert();
  });
}

void AddConversions(CLI::App& app, Flags& flags, absl::Status& status) {
  CLI::App* quantize = AddConversion(app, "quantize", "BF16 or F32 projections to block-scaled FP8", flags);
  const std::map<std::string, ScaleFormat> formats = {{"f32", ScaleFormat::kF32}, {"ue8m0", ScaleFormat::kUe8m0}};
  quantize->add_option("--scale-format", flags.scale_format, "f32, or ue8m0 for powers of two; default: f32")
      ->transform(CLI::CheckedTransformer(formats));
  Run(*quantize, flags, status, [&flags] { return Quantize(flags.route, flags.scale_format); });

  CLI::App* dequantize = AddConversion(app, "dequantize", "FP8 projections to BF16", flags);
  Run(*dequantize, flags, status, [&flags] { return Dequantize(flags.route); });

  CLI::App* shard = AddConversion(app, "shard", "The same tensors in files of a size", flags);
  shard->add_option("--max-shard-bytes", flags.max_shard_bytes, "Bytes of tensors per file; a larger one lies alone")
      ->required()
      ->check(CLI::PositiveNumber);
  Run(*shard, flags, status, [&flags] { return Reshard(flags.route, flags.max_shard_bytes); });

  CLI::App* merge = AddConversion(app, "merge", "The same tensors in one file", flags);
  Run(*merge, flags, status, [&flags] { return Reshard(flags.route, std::numeric_limits<uint64_t>::max()); });
}

void AddRandom(CLI::App& app, Flags& flags, absl::Status& status) {
  CLI::App* random = AddWriter(app, "random", "Random weights of a configuration, for benchmarks", flags);
  random->add_option("OUT", flags.random.to, "The directory to write, which must not exist")->required();
  random->add_option("--config", flags.random.config_json, "The config.json of the model")->required();
  const std::map<std::string, DType> dtypes = {{"bf16", DType::kBf16}, {"f32", DType::kF32}, {"fp8", DType::kE4M3}};
  random->add_option("--dtype", flags.random.dtype, "bf16, f32 or fp8; default: bf16")
      ->transform(CLI::CheckedTransformer(dtypes));
  random->add_option("--seed", flags.random.seed, "The same seed gives the same bytes; default: 1");
  Run(*random, flags, status, [&flags] { return WriteRandomCheckpoint(flags.random); });
}

int ExitCode(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "latent-convert: " << OnOneLine(std::string(status.message())) << std::endl;
  return absl::IsCancelled(status) ? kExitInterrupted : kExitFailed;
}

}  // namespace

int RunLatentConvert(int argc, char** argv) {
  EndOnFileFaults("latent-convert", FaultLine::kText);
  CLI::App app("Looks at checkpoints and converts them.", "latent-convert");
  app.require_subcommand(1);
  Flags flags;
  absl::Status status;
  AddReaders(app, flags, status);
  AddConversions(app, flags, status);
  AddRandom(app, flags, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return ExitCode(status);
}

}  // namespace latentd

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  return latentd::FinishStandardOutput("latent-convert", latentd::RunLatentConvert(argc, argv));
}
