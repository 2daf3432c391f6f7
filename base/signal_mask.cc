#include "base/signal_mask.h"

#include <initializer_list>

namespace latentd {

sigset_t BlockSignalsButFaults() {
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  return before;
}

}  // namespace latentd
