#include "base/standard_descriptors.h"

#include <cerrno>
#include <cstdio>
#include <initializer_list>
#include <iostream>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace latentd {

void OpenMissingStandardDescriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    if (open("/dev/null", O_RDWR) < 0) return;  // takes the lowest number that is free, which is this one
  }
}

int FinishStandardOutput(const char* program, int code) {
  errno = 0;
  const bool is_written = std::cout.flush().good() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (is_written && close(STDOUT_FILENO) == 0) return code;  // some file systems tell only now
  // What failed some time ago has left no reason: the next try tells it.
  if (errno == 0 && write(STDOUT_FILENO, "\n", 1) == 1) errno = 0;
  const std::string reason = errno == 0 ? "an error" : std::generic_category().message(errno);
  std::cerr << program << ": standard output: expected all of it to be written, found: " << reason << "\n";
  return code == 0 ? 1 : code;
}

namespace {

// Run by the dynamic linker before the constructors of libraries, some of which open files.
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_all_constructors)() = &OpenMissingStandardDescriptors;

}  // namespace
}  // namespace latentd
