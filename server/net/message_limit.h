// The largest message that a client may send, wherever that is looked at.
#pragma once

namespace latentd {

inline constexpr int kMaxMessageBytes = 4 << 20;

}  // namespace latentd
