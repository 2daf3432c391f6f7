#include "tools/load/metrics_scrape.h"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

using ::testing::HasSubstr;

constexpr char kPage[] =
    "# HELP a_total Things\n"
    "# TYPE a_total counter\n"
    "a_total{kind=\"x\",code=\"OK\"} 3\n"
    "a_total{kind=\"x\",code=\"NO\"} 4\n"
    "a_total{kind=\"y\",code=\"OK\",} 5.5 1700000000000\n"
    "\n"
    "b 1e3\r\n"
    "c{text=\"a \\\"b\\\" \\\\ {}, \\n\"} +Inf\n";

TEST(MetricsPage, SumsOverTheSamplesThatHaveTheLabels) {
  const MetricsPage page = *MetricsPage::Parse(kPage);
  EXPECT_EQ(page.samples().size(), 5u);
  EXPECT_EQ(*page.Sum("a_total"), 12.5);
  EXPECT_EQ(*page.Sum("a_total", {{"kind", "x"}}), 7.0);
  EXPECT_EQ(*page.Sum("a_total", {{"kind", "x"}, {"code", "OK"}}), 3.0);
  EXPECT_EQ(*page.Sum("b"), 1000.0);
}

TEST(MetricsPage, ReadsEscapesAndInfinity) {
  const MetricsPage page = *MetricsPage::Parse(kPage);
  EXPECT_EQ(page.samples().back().labels.at("text"), "a \"b\" \\ {}, \n");
  EXPECT_TRUE(std::isinf(page.samples().back().value));
}

TEST(MetricsPage, SumOverNothingIsAnError) {
  const MetricsPage page = *MetricsPage::Parse(kPage);
  EXPECT_FALSE(page.Sum("a").ok());
  EXPECT_FALSE(page.Sum("a_total", {{"kind", "z"}}).ok());
}

TEST(MetricsPage, LineThatIsNoneIsAnErrorWithItsNumber) {
  for (const char* line : {"a", "a{", "a{b=\"c\"", "a{b=c} 1", "a{b=\"c} 1", "a x", "a 1 2 3", "{} 1", "<html>"}) {
    const auto page = MetricsPage::Parse(std::string("b 1\n") + line + "\n");
    ASSERT_FALSE(page.ok()) << line;
    EXPECT_THAT(std::string(page.status().message()), HasSubstr("line 2")) << line;
  }
}

}  // namespace
}  // namespace latentd
