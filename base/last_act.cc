#include "base/last_act.h"

#include <atomic>

namespace latentd {
namespace {

std::atomic<void (*)()> last_act = nullptr;

}  // namespace

void SetLastAct(void (*act)()) { last_act = act; }

void RunLastAct() {
  if (void (*act)() = last_act.exchange(nullptr)) act();
}

}  // namespace latentd
