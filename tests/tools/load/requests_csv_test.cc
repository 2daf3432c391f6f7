#include "tools/load/requests_csv.h"

#include <gtest/gtest.h>

#include "tests/tools/load/run_record.h"

namespace latentd {
namespace {

TEST(RequestsCsv, HasALineForEachRequest) {
  RequestRecord good = Succeeded({.intended = 500, .first_token = 750, .ended = 1500}, 4);
  good.cached_tokens = 3;
  RequestRecord refused = Failed(grpc::StatusCode::RESOURCE_EXHAUSTED, "a,\"b\"");
  refused.index = 1;
  refused.tenant = 1;
  refused.ended = 250 * kMillisecond;
  EXPECT_EQ(MakeRequestsCsv({good, refused}, {{"x"}, {"y"}}),
            "index,tenant,behaviour,intended,sent,ttft,second_token,end_to_end,prompt_tokens,cached_tokens,output_"
            "tokens,code,"
            "reason,expected\n"
            "0,x,well-behaved,0.5,0.5,0.25,1,1,10,3,4,OK,MAX_TOKENS,1\n"
            "1,y,well-behaved,0,0,,,0.25,0,0,0,RESOURCE_EXHAUSTED,\"a,\"\"b\"\"\",0\n");
}

}  // namespace
}  // namespace latentd
