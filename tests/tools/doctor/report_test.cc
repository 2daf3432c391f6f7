#include "tools/doctor/report.h"

#include <gtest/gtest.h>

#include "tools/doctor/finding.h"

namespace latentd {
namespace {

TEST(Finding, AdviceStandsBehindTheLastSemicolon) {
  const Finding finding = FindingOf("memory", Severity::kError, "expected a; b, found c; raise d");
  EXPECT_EQ(finding.found, "expected a; b, found c");
  EXPECT_EQ(finding.advice, "raise d");
  EXPECT_EQ(FindingOf("memory", Severity::kError, "found c").advice, "");
}

TEST(Report, IsALineForEachFindingAndASum) {
  const Findings findings = {Fine("clock", "synchronised"), FindingOf("model", Severity::kError, "found\nnone; look"),
                             FindingOf("cores", Severity::kWarning, "few")};
  EXPECT_EQ(TextReport(findings),
            "ok       clock          synchronised\n"
            "error    model          found\\nnone; look\n"
            "warning  cores          few\n"
            "1 error, 1 warning\n");
}

TEST(Report, IsAnObjectForEachFinding) {
  EXPECT_EQ(JsonReport({FindingOf("model", Severity::kWarning, "a \"b\"; do c")}),
            "{\"check\": \"model\", \"severity\": \"warning\", \"found\": \"a \\\"b\\\"\", \"advice\": \"do c\"}\n");
}

TEST(Report, FailsOnErrorsOnly) {
  EXPECT_EQ(ExitCodeOf({Fine("clock", "")}), 0);
  EXPECT_EQ(ExitCodeOf({FindingOf("clock", Severity::kWarning, "")}), 0);
  EXPECT_EQ(ExitCodeOf({Fine("clock", ""), FindingOf("model", Severity::kError, "")}), 1);
}

}  // namespace
}  // namespace latentd
