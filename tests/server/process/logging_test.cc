#include "server/process/logging.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace latentd {
namespace {

TEST(LogFields, PlainValuesStandBareAndOthersInQuotes) {
  LogFields fields;
  fields.Add("id", "a-1");
  fields.Add("peer", "ipv4:127.0.0.1:1");
  fields.Add("blank", "a b");
  fields.Add("equals", "a=b");
  fields.Add("none", "");
  fields.Add("count", 3);
  fields.AddSeconds("seconds", 0.25);
  EXPECT_EQ(fields.rendered(),
            "id=a-1 peer=ipv4:127.0.0.1:1 blank=\"a b\" equals=\"a=b\" none=\"\" count=3 seconds=0.250000");
}

TEST(SetLogLevel, UnknownNameListsTheNames) {
  const absl::StatusOr<std::string> result = SetLogLevel("lo\nud");
  EXPECT_TRUE(absl::IsInvalidArgument(result.status()));
  EXPECT_THAT(std::string(result.status().message()), testing::HasSubstr("trace, debug, info, warning, error, off"));
  EXPECT_THAT(std::string(result.status().message()), testing::Not(testing::HasSubstr("\n")));
}

}  // namespace
}  // namespace latentd
