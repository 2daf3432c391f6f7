#include "tools/latentctl/load_program.h"

#include <cerrno>
#include <filesystem>
#include <iostream>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace latentd {

bool NamesLoad(int argc, const char* const* argv) { return argc > 1 && std::string_view(argv[1]) == "load"; }

int RunLoadProgram(char* const* argv) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path program = self.parent_path() / "latentctl-load";
  if (!error) {
    execv(program.c_str(), argv);
    error.assign(errno, std::generic_category());
  }
  std::cerr << "latentctl: expected the load client in " << program << ", found none to run: " << error.message()
            << "; make build makes it, and it belongs beside latentctl" << std::endl;
  return 1;
}

}  // namespace latentd
