#include "base/command_line.h"

#include <charconv>
#include <cstddef>
#include <system_error>
#include <type_traits>
#include <utility>

#include <CLI/CLI.hpp>

#include "base/printable_text.h"

namespace latentd {
namespace {

template <class Target>
struct IsVector : std::false_type {};
template <class Element>
struct IsVector<std::vector<Element>> : std::true_type {};

template <class Number>
bool IsWholly(const std::string& text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

template <class Target>
CLI::Option* AddOption(CLI::App& app, const Flag& flag, Target& target) {
  if constexpr (std::is_same_v<Target, bool>) {
    return app.add_flag(flag.name, target, flag.help);
  } else {
    CLI::Option* option = app.add_option(flag.name, target, flag.help);
    if (IsVector<Target>::value && flag.name.starts_with('-')) option->allow_extra_args(false);
    return option;
  }
}

FlagRule RuleOf(const CLI::Validator& validator) {
  return {.judge = [validator](std::string& text) { return validator(text); },
          .description = validator.get_description()};
}

}  // namespace

void Command::Add(Flag flag) {
  const auto add = [&](auto* target) { return AddOption(*app_, flag, *target); };
  CLI::Option* option = std::visit(add, flag.target);
  if (flag.rule.judge) option->transform(CLI::Validator(std::move(flag.rule.judge), flag.rule.description));
  if (!flag.type.empty()) option->type_name(flag.type);
  if (!flag.group.empty()) option->group(flag.group);
  if (!flag.excludes.empty()) option->excludes(app_->get_option(flag.excludes));
  if (flag.delimiter != '\0') option->delimiter(flag.delimiter);
  if (flag.is_required) option->required();
  if (flag.shows_default) option->capture_default_str();
}

Command Command::AddCommand(const std::string& name, const std::string& what) {
  return Command(*app_->add_subcommand(name, what));
}

void Command::SetFooter(const std::string& text) { app_->footer(text); }

void Command::OnParsed(std::function<void()> callback) { app_->callback(std::move(callback)); }

bool Command::IsNamed() const { return app_->parsed(); }

bool Command::IsGiven(const std::string& flag) const { return app_->count(flag) > 0; }

CommandLine::CommandLine(const std::string& program, const std::string& what)
    : app_(std::make_unique<CLI::App>(what, program)) {}

CommandLine::~CommandLine() = default;

CommandLine::CommandLine(CommandLine&&) noexcept = default;

void CommandLine::SetVersion(const std::string& version) { app_->set_version_flag("--version", version); }

ParsedLine CommandLine::Parse(int argc, const char* const* argv) {
  if (!app_->get_subcommands([](const CLI::App*) { return true; }).empty()) app_->require_subcommand(1);
  ParsedLine line;
  try {
    app_->parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    line.answer = app_->help();
    line.exit_code = help.get_exit_code();
  } catch (const CLI::CallForVersion& version) {
    line.answer = std::string(version.what()) + "\n";
    line.exit_code = version.get_exit_code();
  } catch (const CLI::ParseError& error) {
    line.error = error.what();
    line.exit_code = error.get_exit_code();
    if (line.exit_code == static_cast<int>(CLI::ExitCodes::ExtrasError)) line.unexpected = app_->remaining();
  }
  return line;
}

FlagRule WholeUpTo(uint64_t largest) {
  return {.judge = [largest](std::string& text) {
    uint64_t number = 0;
    if (IsWholly(text, &number) && number <= largest) return std::string();
    return "expected a whole number from 0 to " + std::to_string(largest) + ", found \"" + text + "\"";
  }};
}

FlagRule SecondsUpToAYear() {
  return {.judge = [](std::string& text) {
    constexpr double kYear = 31'536'000.0;
    double number = 0.0;
    if (IsWholly(text, &number) && number >= 0.0 && number <= kYear) return std::string();
    return "expected seconds from 0 to 31536000, found \"" + text + "\"";
  }};
}

FlagRule InRange(double lowest, double highest) { return RuleOf(CLI::Range(lowest, highest)); }

FlagRule WholeInRange(int lowest, int highest) {
  return {.judge = [lowest, highest](std::string& text) {
    int number = 0;
    if (IsWholly(text, &number) && number >= lowest && number <= highest) return std::string();
    return "expected a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest) + ", found \"" +
           text + "\"";
  }};
}

FlagRule PrintableUpTo(size_t most_bytes) {
  return {.judge = [most_bytes](std::string& text) {
    const bool is_printable = IsPrintableAscii(text);
    if (!text.empty() && text.size() <= most_bytes && is_printable) return std::string();
    return "expected 1 to " + std::to_string(most_bytes) + " bytes of printable ASCII, found " +
           (is_printable ? std::to_string(text.size()) + " bytes" : "others");
  }};
}

FlagRule AboveZero() { return RuleOf(CLI::PositiveNumber); }

FlagRule OneOf(std::vector<std::string> choices) { return RuleOf(CLI::IsMember(std::move(choices))); }

}  // namespace latentd
