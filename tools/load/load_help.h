// What latentctl's help says of the load command, whose flags only latentctl-load knows.
#pragma once

namespace latentd {

inline constexpr char kLoadCommand[] = "load";
inline constexpr char kLoadHelp[] = "Send a load and measure it: closed or open loop";

}  // namespace latentd
