// Which signals the threads of a program take. Signals that end it are the main thread's business.
#pragma once

#include <csignal>

namespace latentd {

// Blocks every signal on the calling thread, and in those that it starts, but the ones that a thread's own faults
// raise: where those are blocked, the kernel ends the process without asking the handler that names the file. Gives the
// mask that was in force.
sigset_t BlockSignalsButFaults();

}  // namespace latentd
