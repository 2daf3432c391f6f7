// What a process does when a CHECK has failed, after the line that says so and before it aborts. Any thread.
#pragma once

namespace latentd {

// `act` may be called on any thread in any state, so it takes no lock and no memory. Null: nothing.
void SetLastAct(void (*act)());

// For CHECK alone. Once in a process: a check that fails within the act, or in another thread meanwhile, just aborts.
void RunLastAct();

}  // namespace latentd
