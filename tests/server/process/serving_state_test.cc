#include "server/process/serving_state.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::ElementsAre;
using Stage = ServingState::Stage;

TEST(ServingState, IsReadyWhereItServesAndTheApiTakesClients) {
  ServingState state;
  std::vector<bool> told;
  state.Observe(&told, [&told](const ServingState::View& view) { told.push_back(view.is_ready()); });
  state.MoveTo(Stage::kServing);
  state.SetDeaf(ListenerKind::kApi);
  state.MoveTo(Stage::kStalled);
  state.SetHearing(ListenerKind::kApi);
  state.MoveTo(Stage::kServing);
  state.SetDeaf(ListenerKind::kAdmin);
  EXPECT_THAT(told, ElementsAre(false, true, false, false, false, true, true));
  EXPECT_FALSE(state.view().Accepts(ListenerKind::kAdmin));
}

TEST(ServingState, DrainIsFinal) {
  ServingState state;
  state.MoveTo(Stage::kDraining);
  state.MoveTo(Stage::kServing);
  EXPECT_EQ(state.view().stage, Stage::kDraining);
}

TEST(ServingState, WhoIsForgottenHearsNothing) {
  ServingState state;
  int told = 0;
  state.Observe(&told, [&told](const ServingState::View&) { ++told; });
  state.Forget(&told);
  state.MoveTo(Stage::kServing);
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace latentd
