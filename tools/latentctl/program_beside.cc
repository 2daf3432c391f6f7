#include "tools/latentctl/program_beside.h"

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>

#include <unistd.h>

namespace latentd {

const ProgramBeside* FindProgramBeside(int argc, const char* const* argv) {
  for (const ProgramBeside& program : kProgramsBeside) {
    if (argc > 1 && program.command == argv[1]) return &program;
  }
  return nullptr;
}

int RunProgramBeside(const ProgramBeside& program, char* const* argv) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path path = self.parent_path() / ("latentctl-" + std::string(program.command));
  if (!error) {
    execv(path.c_str(), argv);
    error.assign(errno, std::generic_category());
  }
  std::cerr << "latentctl: expected the " << program.what << " in " << path
            << ", found none to run: " << error.message() << "; make build makes it, and it belongs beside latentctl"
            << std::endl;
  return 1;
}

}  // namespace latentd
