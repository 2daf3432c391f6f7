// A descriptor to give up once the system has no other left, so that a listener can still take a connection and answer
// it. One thread at a time.
#pragma once

#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace latentd {

class ReserveDescriptor {
 public:
  ReserveDescriptor() { Take(); }
  ReserveDescriptor(ReserveDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  ReserveDescriptor& operator=(ReserveDescriptor&&) = delete;
  ~ReserveDescriptor() { GiveUp(); }

  bool is_held() const { return descriptor_ >= 0; }
  // False, with errno, where there is none to be had.
  bool Take() {
    if (!is_held()) descriptor_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return is_held();
  }
  void GiveUp() {
    if (is_held()) close(std::exchange(descriptor_, -1));
  }

 private:
  int descriptor_ = -1;
};

}  // namespace latentd
