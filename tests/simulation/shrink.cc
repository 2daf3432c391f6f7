#include "tests/simulation/shrink.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace latentd::simulation {
namespace {

using Fails = std::function<bool(const Scenario&)>;

// One pass over a list of the scenario; true where something could be taken out.
template <class Item>
bool TakeOut(std::vector<Item> Scenario::*list, const Fails& fails, int& runs_left, Scenario& scenario) {
  bool was_changed = false;
  for (size_t group = std::max<size_t>(1, (scenario.*list).size()); group > 0; group /= 2) {
    for (size_t first = 0; first < (scenario.*list).size() && runs_left > 0;) {
      Scenario smaller = scenario;
      std::vector<Item>& items = smaller.*list;
      const size_t end = std::min(items.size(), first + group);
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(first), items.begin() + static_cast<std::ptrdiff_t>(end));
      --runs_left;
      if (fails(smaller)) {
        scenario = std::move(smaller);
        was_changed = true;
      } else {
        first = end;
      }
    }
  }
  return was_changed;
}

}  // namespace

Scenario Shrink(Scenario scenario, const Fails& fails, int most_runs) {
  int runs_left = most_runs;
  bool was_changed = true;
  while (was_changed && runs_left > 0) {
    was_changed = TakeOut(&Scenario::faults, fails, runs_left, scenario);
    was_changed |= TakeOut(&Scenario::requests, fails, runs_left, scenario);
  }
  return scenario;
}

}  // namespace latentd::simulation
