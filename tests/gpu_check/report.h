// Collects the outcome of each test for latentd-gpu-check's report.
#pragma once

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace latentd {

// Fills report["tests"] and report["summary"]; the report must outlive it.
class TestReporter final : public testing::EmptyTestEventListener {
 public:
  explicit TestReporter(nlohmann::ordered_json& report) : report_(report) {
    report_["summary"] = nullptr;
    report_["tests"] = nlohmann::ordered_json::array();
  }

 private:
  void OnTestEnd(const testing::TestInfo& test) override {
    const testing::TestResult& result = *test.result();
    nlohmann::ordered_json entry = {{"name", std::string(test.test_suite_name()) + "." + test.name()},
                                    {"outcome", OutcomeOf(result)},
                                    {"seconds", static_cast<double>(result.elapsed_time()) / 1000.0}};
    for (int i = 0; i < result.test_property_count(); ++i) {
      entry["measured"][result.GetTestProperty(i).key()] = result.GetTestProperty(i).value();
    }
    for (int i = 0; i < result.total_part_count(); ++i) {
      if (result.GetTestPartResult(i).failed()) entry["messages"].push_back(result.GetTestPartResult(i).message());
    }
    report_["tests"].push_back(std::move(entry));
  }
  void OnTestProgramEnd(const testing::UnitTest& tests) override {
    report_["summary"] = {{"passed", tests.successful_test_count()},
                          {"failed", tests.failed_test_count()},
                          {"skipped", tests.skipped_test_count()},
                          {"seconds", static_cast<double>(tests.elapsed_time()) / 1000.0}};
  }

  static const char* OutcomeOf(const testing::TestResult& result) {
    if (result.Failed()) return "failed";
    return result.Skipped() ? "skipped" : "passed";
  }

  nlohmann::ordered_json& report_;
};

}  // namespace latentd
