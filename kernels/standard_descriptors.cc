#include "kernels/standard_descriptors.h"

#include <cerrno>
#include <initializer_list>

#include <fcntl.h>
#include <unistd.h>

namespace latentd {

void OpenMissingStandardDescriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    if (open("/dev/null", O_RDWR) < 0) return;  // takes the lowest number that is free, which is this one
  }
}

namespace {

// Run by the dynamic linker before the constructors of libraries, some of which open files.
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_all_constructors)() = &OpenMissingStandardDescriptors;

}  // namespace
}  // namespace latentd
