#include "tools/client/program_line.h"

#include <iostream>

#include "base/quoting.h"
#include "base/standard_descriptors.h"

namespace latentd {

CommandLine LatentctlLine() {
  CommandLine line("latentctl", "Talks to a latentd daemon.");
  line.SetVersion("latentctl " LATENTD_VERSION);
  return line;
}

int FinishLatentctl(CommandLine& line, int argc, const char* const* argv, const int& code) {
  const ParsedLine parsed = line.Parse(argc, argv);
  if (parsed.answer) std::cout << *parsed.answer;
  if (!parsed.error.empty()) {
    std::cerr << "latentctl: " << OnOneLine(parsed.error) << "; see latentctl --help" << std::endl;
  }
  return FinishStandardOutput("latentctl", parsed.exit_code != 0 ? parsed.exit_code : code);
}

}  // namespace latentd
