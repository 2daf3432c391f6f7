// A profile as a trace: what each event says, and that only one is taken at a time.
#include "engine/step/step_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/step/model_executor.h"
#include "kernels/backend.h"
#include "tests/support/load_directory.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

using ::testing::ElementsAre;

ProfiledCall CallAt(int micros, std::string_view verb, std::string_view weight = {}) {
  return {.verb = verb,
          .weight = weight,
          .rows = 3,
          .cost = {.bytes = 4000.0, .flops = 8000.0},
          .started = TimePoint(std::chrono::microseconds(micros)),
          .took = std::chrono::microseconds(2)};
}

ProfiledStep SomeStep() {
  return {.rows = 1,
          .tokens = 3,
          .started = TimePoint(std::chrono::microseconds(100)),
          .took = std::chrono::microseconds(50),
          .calls = {CallAt(101, "Embed", "model.embed_tokens.weight"), CallAt(104, "RmsNorm"),
                    CallAt(107, "Linear", "model.layers.12.self_attn.q_proj.weight"), CallAt(110, "RouteExperts"),
                    CallAt(113, "MixExperts", "model.layers.12.mlp.experts.0.gate_proj.weight"),
                    CallAt(116, "AddRmsNorm"), CallAt(119, "Linear", "lm_head.weight"), CallAt(122, "Sample")}};
}

TEST(ChromeTrace, NamesEachCallAndItsLayer) {
  const std::vector<ProfiledStep> steps = {SomeStep()};
  const nlohmann::json events = nlohmann::json::parse(ChromeTrace(steps)).at("traceEvents");
  std::vector<std::string> names;
  std::vector<int> layers;
  for (const nlohmann::json& event : events) {
    names.push_back(event.at("name"));
    layers.push_back(event.at("args").value("layer", -1));
  }
  EXPECT_THAT(names, ElementsAre("step", "Embed model.embed_tokens", "RmsNorm", "Linear self_attn.q_proj",
                                 "RouteExperts", "MixExperts", "AddRmsNorm", "Linear lm_head", "Sample"));
  EXPECT_THAT(layers, ElementsAre(-1, -1, 12, 12, 12, 12, -1, -1, -1));
}

TEST(ChromeTrace, CountsMicrosecondsFromTheFirstStepOn) {
  const std::vector<ProfiledStep> steps = {SomeStep()};
  const nlohmann::json events = nlohmann::json::parse(ChromeTrace(steps)).at("traceEvents");
  EXPECT_EQ(events[0].at("ts"), 0.0);
  EXPECT_EQ(events[0].at("dur"), 50.0);
  EXPECT_EQ(events[0].at("args").at("tokens"), 3);
  EXPECT_EQ(events[3].at("ts"), 7.0);
  EXPECT_EQ(events[3].at("dur"), 2.0);
  EXPECT_EQ(events[3].at("args").at("GB/s"), 2.0);
  EXPECT_EQ(events[3].at("args").at("GFLOP/s"), 4.0);
}

TEST(StepProfile, WaitsForTheEndOfAnother) {
  ProfiledOps ops(std::move(OrDie(MakeCpuBackend(1)).ops));
  const auto step = [&ops] {
    ops.Upload({}, {});
    ops.Collect({});
  };
  StepProfile first(ops, 1), second(ops, 1);
  EXPECT_EQ(first.Trace(), std::nullopt);
  EXPECT_EQ(second.Trace(), std::nullopt);
  step();
  EXPECT_NE(first.Trace(), std::nullopt);
  EXPECT_EQ(second.Trace(), std::nullopt);
  step();
  EXPECT_NE(second.Trace(), std::nullopt);
}

// Each pass of the layer that predicts further tokens is a step of the profile, one that only stores latents, too.
TEST(StepProfile, EndsBehindAPassThatGivesNothing) {
  Backend backend = OrDie(MakeCpuBackend(1));
  ProfiledOps& ops = ProfiledOps::Around(backend.ops);
  const ModelLimits limits = {.num_blocks = 2,
                              .max_tokens = 8,
                              .max_rows = 1,
                              .max_logit_rows = 8,
                              .max_context = 64,
                              .loads_mtp = MtpUse::kDraft};
  const std::unique_ptr<Model> model = LoadDirectory("models/tiny-tales", limits, *backend.device, ops);
  ModelExecutor executor(*model, backend);
  StepProfile profile(ops, 2);
  EXPECT_EQ(profile.Trace(), std::nullopt);
  const BatchInputs chunk = {.copies = {},
                             .token_ids = {0, 5},
                             .positions = {0, 1},
                             .slots = {kBlockSlots, kBlockSlots + 1},
                             .token_rows = {0, 0},
                             .rows = {{.num_tokens = 2}},
                             .blocks = {1},
                             .logit_tokens = {},
                             .hidden_rows = {}};
  const DraftRow stored = {.end_position = 3, .next_id = 7};
  executor.Launch(chunk, {}, {&stored, 1});
  executor.Collect();
  const std::optional<std::string> trace = profile.Trace();
  ASSERT_NE(trace, std::nullopt);
  EXPECT_LT(trace->find("\"step\""), trace->find("\"draft\""));
}

}  // namespace
}  // namespace latentd
