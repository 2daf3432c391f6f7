#include "server/config/parse_config.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <unistd.h>

#include "base/command_line.h"
#include "server/config/config_file.h"
#include "server/config/knobs.h"

namespace latentd {
namespace {

constexpr char kVersion[] = "latentd " LATENTD_VERSION;
constexpr char kPrefix[] = "LATENTD_";
constexpr char kConfigVariable[] = "LATENTD_CONFIG";

struct CommandLineValues {
  std::map<std::string, std::string> knobs;  // knob -> text
  std::string config_file;
  bool print_config = false;
  std::optional<std::string> answer;  // help or version
};

std::string FlagName(const Knob& knob) { return "--" + std::string(knob.name); }

std::string TypeOf(const Knob& knob) {
  if (!knob.choices.empty()) {
    std::string names;
    for (const std::string_view choice : knob.choices) names += (names.empty() ? "" : "|") + std::string(choice);
    return names;
  }
  return knob.is_text() ? "TEXT" : "NUMBER";
}

// In the order in which they stand, and in the words of our other errors.
std::string Explain(const ParsedLine& parsed) {
  std::string text = parsed.error;
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (!parsed.unexpected.empty()) {
    text = absl::StrCat("expected flags only, found ", absl::StrJoin(parsed.unexpected, " "));
  }
  absl::StrReplaceAll({{"At Most 1 required but received", "expected one value, found"}}, &text);
  return text + "; see latentd --help";
}

// Knobs are parsed as texts, one for each, which must live until the line is parsed.
void AddKnobs(Command program, std::span<std::string> texts) {
  const Config defaults;
  for (size_t i = 0; i < texts.size(); ++i) {
    const Knob& knob = AllKnobs()[i];
    texts[i] = ValueOf(knob, defaults);
    std::string help(knob.help);
    if (!knob.derived_from.empty()) absl::StrAppendFormat(&help, "; 0: %s", knob.derived_from);
    program.Add({.name = FlagName(knob),
                 .target = &texts[i],
                 .help = help,
                 .type = TypeOf(knob),
                 .group = std::string(knob.group),
                 .shows_default = true});
  }
}

// The arguments, with the value that a flag alone stands for joined to it.
std::vector<std::string> WithValues(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  for (size_t i = 1; i < arguments.size(); ++i) {
    const bool is_alone = i + 1 == arguments.size() || arguments[i + 1].starts_with('-');
    for (const Knob& knob : AllKnobs()) {
      if (knob.alone.empty() || !is_alone || arguments[i] != FlagName(knob)) continue;
      arguments[i].append("=").append(knob.alone);
      break;
    }
  }
  return arguments;
}

absl::StatusOr<CommandLineValues> ParseCommandLine(int argc, const char* const* argv) {
  CommandLineValues values;
  CommandLine line("latentd", "Serves one DeepSeek-architecture language model over gRPC.");
  Command program = line.root();
  line.SetVersion(kVersion);
  program.SetFooter(
      "Each flag is also a variable (--max-rows is LATENTD_MAX_ROWS) and a line of the --config file (max-rows = 64);\n"
      "a flag wins over a variable, a variable over the file.");
  program.Add({.name = "--config",
               .target = &values.config_file,
               .help = "TOML file with a line per knob, as --print-config writes it"});
  program.Add({.name = "--print-config",
               .target = &values.print_config,
               .help = "Print every knob with its value and source, and exit"});
  std::vector<std::string> texts(AllKnobs().size());
  AddKnobs(program, texts);
  const std::vector<std::string> arguments = WithValues(argc, argv);
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  const ParsedLine parsed = line.Parse(static_cast<int>(pointers.size()), pointers.data());
  if (!parsed.error.empty()) return absl::InvalidArgumentError(Explain(parsed));
  values.answer = parsed.answer;
  if (program.IsGiven("--config") && values.config_file.empty()) {
    return absl::InvalidArgumentError("--config: expected a file, found \"\"; leave it out where there is none");
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    const Knob& knob = AllKnobs()[i];
    if (program.IsGiven(FlagName(knob))) values.knobs[std::string(knob.name)] = texts[i];
  }
  return values;
}

// Applies one source; `origin` names it in front of an error.
class Layers {
 public:
  explicit Layers(ParsedConfig& parsed) : parsed_(parsed) {
    for (const Knob& knob : AllKnobs()) parsed_.knobs.push_back({.name = std::string(knob.name), .value = {}});
  }

  absl::Status Apply(size_t index, const std::string& text, KnobSource source, const std::string& origin) {
    const absl::Status status = Assign(AllKnobs()[index], text, parsed_.config);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s: %s", origin, std::string(status.message())));
    }
    parsed_.knobs[index].source = source;
    parsed_.origins[parsed_.knobs[index].name] = origin;
    return absl::OkStatus();
  }

 private:
  ParsedConfig& parsed_;
};

absl::Status ApplyFile(const std::string& path, Layers& layers) {
  absl::StatusOr<std::map<std::string, FileEntry>> entries = ReadConfigFile(path);
  if (!entries.ok()) return entries.status();
  for (size_t i = 0; i < AllKnobs().size(); ++i) {
    const auto entry = entries->extract(std::string(AllKnobs()[i].name));
    if (entry.empty()) continue;
    const std::string origin = absl::StrFormat("%s:%d: %s", path, entry.mapped().line, entry.key());
    absl::Status status = layers.Apply(i, entry.mapped().value, KnobSource::kFile, origin);
    if (!status.ok()) return status;
  }
  if (entries->empty()) return absl::OkStatus();
  const auto& [name, entry] = *entries->begin();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s:%d: expected the name of a knob, found %s; latentd --print-config lists them", path, entry.line, name));
}

absl::Status ApplyEnvironment(const Environment& environment, Layers& layers) {
  for (size_t i = 0; i < AllKnobs().size(); ++i) {
    const std::string name = EnvironmentName(AllKnobs()[i].name);
    const auto variable = environment.find(name);
    if (variable == environment.end()) continue;
    absl::Status status = layers.Apply(i, variable->second, KnobSource::kEnvironment, name);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ApplyFlags(const CommandLineValues& line, Layers& layers) {
  for (size_t i = 0; i < AllKnobs().size(); ++i) {
    const auto value = line.knobs.find(std::string(AllKnobs()[i].name));
    if (value == line.knobs.end()) continue;
    absl::Status status = layers.Apply(i, value->second, KnobSource::kFlag, "--" + value->first);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Variables are shared with other programs, so a name that no knob has is told and not refused.
std::vector<std::string> UnknownVariables(const Environment& environment) {
  std::vector<std::string> warnings;
  for (const auto& [name, value] : environment) {
    const auto has_name = [&name = name](const Knob& knob) { return EnvironmentName(knob.name) == name; };
    if (name == kConfigVariable || std::any_of(AllKnobs().begin(), AllKnobs().end(), has_name)) continue;
    warnings.push_back(absl::StrFormat("the variable %s is ignored: no knob has this name", name));
  }
  return warnings;
}

const char* NameOf(KnobSource source) {
  static constexpr const char* kNames[] = {"default", "file", "environment", "flag", "admin"};
  return kNames[static_cast<size_t>(source)];
}

std::string PrintConfig(const ParsedConfig& parsed) {
  std::string text;
  for (size_t i = 0; i < parsed.knobs.size(); ++i) {
    const KnobValue& knob = parsed.knobs[i];
    const std::string value = AllKnobs()[i].is_text() ? QuoteForConfigFile(knob.value) : knob.value;
    const bool is_derived = value == "0" && !AllKnobs()[i].derived_from.empty();
    absl::StrAppendFormat(&text, "%-40s # %s", knob.name + " = " + value, NameOf(knob.source));
    if (is_derived) absl::StrAppendFormat(&text, ", decided at start: %s", AllKnobs()[i].derived_from);
    text += "\n";
  }
  return text;
}

// The value of a flag that is the next argument or joined to it, empty where there is none.
std::string ValueOfFlag(int argc, const char* const* argv, const std::string& flag) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == flag && i + 1 < argc) return argv[i + 1];
    if (argument.starts_with(flag + "=")) return argument.substr(flag.size() + 1);
  }
  return "";
}

std::string Find(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

}  // namespace

std::string WithOrigin(std::string_view error, const ParsedConfig& parsed) {
  for (const auto& [knob, origin] : parsed.origins) {
    const std::string_view rest = error.substr(std::min(knob.size(), error.size()));
    if (error.starts_with(knob) && (rest.starts_with(':') || rest.starts_with('='))) return origin + std::string(rest);
  }
  for (const char* knob : {"generation-config", "chat-template"}) {
    const auto origin = parsed.origins.find(knob);
    if (origin == parsed.origins.end()) continue;
    const bool is_template = std::string_view(knob) == "chat-template";
    const std::string& path = is_template ? parsed.config.chat_template : parsed.config.generation_config;
    if (error.starts_with("'" + path)) return absl::StrCat(origin->second, ": ", std::string(error));
  }
  return std::string(error);
}

bool AsksForJsonLog(int argc, const char* const* argv, const Environment& environment) {
  std::string format = ValueOfFlag(argc, argv, "--log-format");
  if (format.empty()) format = Find(environment, EnvironmentName("log-format"));
  if (!format.empty()) return format == "json";
  std::string path = ValueOfFlag(argc, argv, "--config");
  if (path.empty()) path = Find(environment, kConfigVariable);
  if (path.empty()) return false;
  const absl::StatusOr<std::map<std::string, FileEntry>> entries = ReadConfigFile(path);
  if (!entries.ok()) return false;
  const auto entry = entries->find("log-format");
  return entry != entries->end() && entry->second.value == "json";
}

Environment ReadEnvironment() {
  Environment variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string variable = *entry;
    const size_t equals = variable.find('=');
    if (absl::StartsWith(variable, kPrefix) && equals != std::string::npos) {
      variables[variable.substr(0, equals)] = variable.substr(equals + 1);
    }
  }
  return variables;
}

absl::StatusOr<ParsedConfig> ParseConfig(int argc, const char* const* argv, const Environment& environment) {
  absl::StatusOr<CommandLineValues> line = ParseCommandLine(argc, argv);
  if (!line.ok()) return line.status();
  ParsedConfig parsed;
  if (line->answer) {
    parsed.answer = *std::move(line->answer);
    return parsed;
  }
  Layers layers(parsed);
  if (line->config_file.empty() && environment.contains(kConfigVariable)) {
    line->config_file = environment.at(kConfigVariable);
  }
  if (!line->config_file.empty()) {
    if (absl::Status status = ApplyFile(line->config_file, layers); !status.ok()) return status;
  }
  if (absl::Status status = ApplyEnvironment(environment, layers); !status.ok()) return status;
  if (absl::Status status = ApplyFlags(*line, layers); !status.ok()) return status;
  if (absl::Status status = CheckTogether(parsed.config); !status.ok()) {
    return absl::InvalidArgumentError(WithOrigin(std::string(status.message()), parsed));
  }
  for (size_t i = 0; i < parsed.knobs.size(); ++i) parsed.knobs[i].value = ValueOf(AllKnobs()[i], parsed.config);
  parsed.warnings = UnknownVariables(environment);
  if (line->print_config) {
    parsed.answer = PrintConfig(parsed);
  } else if (parsed.config.model_directory.empty()) {
    return absl::InvalidArgumentError(
        "model: expected the directory of a model, found none; give --model, LATENTD_MODEL or a line in --config");
  }
  return parsed;
}

}  // namespace latentd
