// How far the requests are that a connection began, by the bytes seen on it.
#pragma once

#include <cstdint>

namespace latentd {

enum class Sending : uint8_t {
  kOver,     // nothing comes any more
  kNothing,  // some are not whole, and of these not even the first byte came
  kPart,     // some are not whole
  kUnread,   // the same, and bytes wait in the system for this process to read them
  kWhole,    // all are here
};

}  // namespace latentd
