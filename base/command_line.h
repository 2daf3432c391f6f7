// Command lines: flags, arguments and subcommands with their help, parsed into the caller's variables. The only door to
// the library that does it, which takes many seconds to compile wherever it is included. Everything is added before
// Parse, once, on one thread. Variables and callbacks must live until Parse returns; a Command is a handle into its
// CommandLine and must not outlive it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace CLI {
class App;
}

namespace latentd {

// The variable that gets the value. A vector gets one value each time that its flag is given.
using FlagTarget = std::variant<bool*, int*, uint32_t*, uint64_t*, double*, std::string*, std::filesystem::path*,
                                std::optional<float>*, std::optional<double>*, std::optional<uint32_t>*,
                                std::optional<uint64_t>*, std::vector<uint32_t>*, std::vector<std::string>*>;

// What a value must be.
struct FlagRule {
  std::function<std::string(std::string&)> judge = {};  // returns what is wrong, or nothing; may rewrite the value
  std::string description = {};                         // stands behind the type in the help
};

struct Flag {
  std::string name;  // "--rate"; "!--no-x" clears a bool; without dashes: an argument by its place
  FlagTarget target;
  std::string help = {};
  FlagRule rule = {};
  std::string type = {};      // in the help; empty: that of the target
  std::string group = {};     // heading in the help; empty: Options
  std::string excludes = {};  // name of a flag that was added before, which must not be given beside this one
  char delimiter = '\0';      // of values in one argument of a vector; 0: none
  bool is_required = false;
  bool shows_default = false;  // in the help: the target's value when the flag is added
};

class Command {
 public:
  void Add(Flag flag);
  Command AddCommand(const std::string& name, const std::string& what);
  void SetFooter(const std::string& text);
  // Within Parse, where the line names this command and is right.
  void OnParsed(std::function<void()> callback);
  bool IsGiven(const std::string& flag) const;
  // The line names this command; its OnParsed comes before that of the command it belongs to.
  bool IsNamed() const;

 private:
  friend class CommandLine;
  explicit Command(CLI::App& app) : app_(&app) {}

  CLI::App* app_;
};

struct ParsedLine {
  std::optional<std::string> answer;    // help or version where one was asked for: to be printed
  std::string error;                    // empty: the line is right
  std::vector<std::string> unexpected;  // the arguments that no flag takes, where that is the error
  int exit_code = 0;                    // the library's, for its answers and errors
};

// A line with subcommands must name one.
class CommandLine {
 public:
  CommandLine(const std::string& program, const std::string& what);
  ~CommandLine();
  CommandLine(CommandLine&&) noexcept;

  void SetVersion(const std::string& version);  // adds --version
  Command root() { return Command(*app_); }
  ParsedLine Parse(int argc, const char* const* argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

// All of the text is a number from 0 to `largest`. Without it the library wraps and saturates.
FlagRule WholeUpTo(uint64_t largest);
template <class Unsigned>
FlagRule Whole() {
  return WholeUpTo(std::numeric_limits<Unsigned>::max());
}
FlagRule SecondsUpToAYear();
FlagRule InRange(double lowest, double highest);
FlagRule WholeInRange(int lowest, int highest);
FlagRule PrintableUpTo(size_t most_bytes);  // ASCII
FlagRule AboveZero();
FlagRule OneOf(std::vector<std::string> choices);

}  // namespace latentd
