#include "server/config/tenants_file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class TenantsFileTest : public testing::Test {
 protected:
  std::string File(std::string_view content) const {
    WriteFile(folder_.path() / "tenants.toml", content);
    return (folder_.path() / "tenants.toml").string();
  }
  TenantRules Read(std::string_view content) const { return OrDie(ReadTenantsFile(File(content))); }
  // What follows the path.
  std::string Error(std::string_view content) const {
    const std::string path = File(content);
    const absl::StatusOr<TenantRules> rules = ReadTenantsFile(path);
    EXPECT_FALSE(rules.ok()) << content;
    const std::string message(rules.status().message());
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_THAT(message, StartsWith(path + ":"));
    return message.substr(path.size() + 1);
  }

 private:
  TemporaryDirectory folder_;
};

TEST_F(TenantsFileTest, NoFileMeansThatAllAreAlike) { EXPECT_EQ(OrDie(ReadTenantsFile("")), TenantRules{}); }

TEST_F(TenantsFileTest, EachTenantHasWhatItSaysAndDefaultsOtherwise) {
  const TenantRules rules = Read(R"(
# those who pay
[[tenant]]
name = "search"
weight = 2.5
max-priority = -1
max-queued-requests = 10
max-queued-tokens = 100_000

[[tenant]]
name = 'night jobs'
weight = 1

[default]
max-priority = 0
)");
  const TenantRules expected = {
      .of_others = {.max_priority = 0},
      .listed = {
          {"search", {.weight = 2.5, .max_priority = -1, .max_queued_requests = 10, .max_queued_tokens = 100'000}},
          {"night jobs", {}}}};
  EXPECT_EQ(rules, expected);
  EXPECT_EQ(rules.Of("search").weight, 2.5);
  EXPECT_EQ(rules.Of("someone").max_priority, 0);
  EXPECT_EQ(rules.Of("").max_priority, 0);
}

TEST_F(TenantsFileTest, AnEmptyFileSaysNothing) { EXPECT_EQ(Read("# nothing yet\n"), TenantRules{}); }

TEST_F(TenantsFileTest, EachNumberIsHeldToItsRange) {
  EXPECT_EQ(Error("[default]\nweight = 0\n"), "2: weight: expected a number from 0.001 to 1000, found 0");
  EXPECT_EQ(Error("[default]\nweight = nan\n"), "2: weight: expected a number from 0.001 to 1000, found nan");
  EXPECT_EQ(Error("[default]\nmax-priority = 9\n"),
            "2: max-priority: expected a whole number from -8 to 8, found 9");
  EXPECT_EQ(Error("[default]\n\nmax-queued-requests = 0\n"),
            "3: max-queued-requests: expected a whole number from 1 to 1000000000000, found 0");
  EXPECT_THAT(Error("[default]\nmax-queued-tokens = 1.5\n"),
              HasSubstr("2: max-queued-tokens: expected a whole number"));
  EXPECT_THAT(Error("[default]\nmax-queued-tokens = '5'\n"), HasSubstr("found \"5\""));
  EXPECT_THAT(Error("[default]\nmax-priority = [1]\n"), HasSubstr("2: max-priority: expected a whole number"));
}

TEST_F(TenantsFileTest, NamesAreThoseThatARequestCanHaveAndEachIsThereOnce) {
  EXPECT_EQ(Error("[[tenant]]\nweight = 1\n"), "1: expected the name of a tenant, found none");
  EXPECT_EQ(Error("[[tenant]]\nname = ''\n"), "2: name: expected 1 to 64 bytes of printable ASCII, found \"\"");
  EXPECT_THAT(Error("[[tenant]]\nname = 7\n"), StartsWith("2: name: expected"));
  EXPECT_THAT(Error("[[tenant]]\nname = \"a\\nb\"\n"), StartsWith("2: name: expected"));
  EXPECT_THAT(Error("[[tenant]]\nname = \"" + std::string(65, 'x') + "\"\n"), StartsWith("2: name: expected"));
  EXPECT_EQ(Error("[[tenant]]\nname = 'a'\n[[tenant]]\nname = 'a'\n"),
            "4: name: expected each tenant once, found 'a' twice");
  EXPECT_THAT(Error("[default]\nname = 'a'\n"), StartsWith("2: expected no name in [default]"));
}

TEST_F(TenantsFileTest, WhatIsNotKnownIsRefused) {
  EXPECT_EQ(Error("\n[tenants]\n"), "2: expected [[tenant]] or [default], found 'tenants'");
  EXPECT_EQ(Error("[[tenant]]\nname = 'a'\nmax_priority = 1\n"),
            "3: expected weight, max-priority, max-queued-requests or max-queued-tokens, found 'max_priority'");
  EXPECT_THAT(Error("[tenant]\nname = 'a'\n"), StartsWith("1: expected a table for each tenant, [[tenant]], found"));
  EXPECT_THAT(Error("default = 1\n"), StartsWith("1: expected a table, [default], found 1"));
  EXPECT_THAT(Error("tenant = [1]\n"), StartsWith("1: expected a table, [[tenant]], found 1"));
  EXPECT_THAT(Error("[default]\nweight = 1\nweight = 2\n"), StartsWith("3: "));
  EXPECT_THAT(Error("[default\n"), StartsWith("1: "));
}

TEST_F(TenantsFileTest, AFileThatCannotBeReadIsRefused) {
  const absl::StatusOr<TenantRules> rules = ReadTenantsFile("/nowhere/tenants.toml");
  ASSERT_FALSE(rules.ok());
  EXPECT_THAT(std::string(rules.status().message()), HasSubstr("/nowhere/tenants.toml"));
}

}  // namespace
}  // namespace latentd
