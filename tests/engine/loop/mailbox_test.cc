#include "engine/loop/mailbox.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

struct Numbers {
  std::vector<int> all;
  bool empty() const { return all.empty(); }
};

TEST(Mailbox, LettersMergeAndOneTakeEmptiesIt) {
  Mailbox<Numbers> box;
  const auto send = [&box](int number) {
    return box.Merge([number](Numbers& numbers) {
      numbers.all.push_back(number);
      return numbers.all.size();
    });
  };
  EXPECT_EQ(send(1), 1u);
  EXPECT_EQ(send(2), 2u) << "a sender learns what the merge came to";
  EXPECT_EQ(box.Take().all, (std::vector<int>{1, 2}));
  EXPECT_TRUE(box.Take().empty());
}

TEST(Mailbox, AwaitGivesAllThatWasSentBeforeItWasClosed) {
  Mailbox<Numbers> box;
  std::vector<int> taken;
  std::thread taker([&] {
    Numbers numbers;
    while (box.Await(numbers)) {
      taken.insert(taken.end(), numbers.all.begin(), numbers.all.end());
      numbers.all.clear();
    }
  });
  for (const int number : {1, 2, 3}) {
    box.Merge([number](Numbers& numbers) { numbers.all.push_back(number); });
  }
  box.Close();
  taker.join();
  EXPECT_EQ(taken, (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(box.closed());
}

}  // namespace
}  // namespace latentd
