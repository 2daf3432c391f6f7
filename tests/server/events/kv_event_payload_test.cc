#include "server/events/kv_event_payload.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

using namespace std::string_literals;

constexpr double kSeconds = 1.5;
// A batch of one event: what stands before it, and the rank behind it.
const std::string kStart = "\x93\xcb\x3f\xf8\0\0\0\0\0\0\x91"s;
const std::string kEnd = "\0"s;

std::string Text(std::string_view text) {  // of less than 32 bytes
  return static_cast<char>(0xa0 + text.size()) + std::string(text);
}

KvEvent Stored() {
  KvEvent event{.number = 7, .kind = KvEvent::Kind::kStored, .hash = {.low = 0x0102030405060708, .high = 99}};
  event.token_ids[0] = 1;
  event.token_ids[1] = 127'000;
  return event;
}

std::string ExpectedStored(const std::string& parent, const std::string& extra_keys) {
  const std::string ids = "\xdc\0\x40\x01\xce\0\x01\xf0\x18"s + std::string(62, '\0');
  return kStart + "\x89" + Text("type") + Text("BlockStored") + Text("block_hashes") +
         "\x91\xcf\x01\x02\x03\x04\x05\x06\x07\x08" + Text("parent_block_hash") + parent + Text("token_ids") + ids +
         Text("block_size") + "\x40" + Text("lora_id") + "\xc0" + Text("medium") + Text("GPU") + Text("lora_name") +
         "\xc0" + Text("extra_keys") + extra_keys + kEnd;
}

TEST(KvEventPayload, StoredBlockHasItsTokensAndTheBlockBefore) {
  KvEvent event = Stored();
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds), ExpectedStored("\xc0", "\xc0"));
  event.parent = BlockHash{.low = ~uint64_t{0}, .high = 1};
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds), ExpectedStored("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xc0"));
}

TEST(KvEventPayload, FirstBlockNamesItsSaltAndItsTenant) {
  KvEvent event = Stored();
  event.salt = JoinSalt("", "");
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds), ExpectedStored("\xc0", "\xc0"));
  event.salt = JoinSalt("", "pepper");
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds), ExpectedStored("\xc0", "\x91\x91" + Text("pepper")));
  event.salt = JoinSalt("alpha", "");
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds), ExpectedStored("\xc0", "\x91\x91" + Text("tenant:alpha")));
  event.salt = JoinSalt("alpha", "pepper");
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds),
            ExpectedStored("\xc0", "\x91\x92" + Text("pepper") + Text("tenant:alpha")));
}

TEST(KvEventPayload, RemovedBlockHasItsHash) {
  const KvEvent event{.kind = KvEvent::Kind::kRemoved, .hash = {.low = 3}};
  EXPECT_EQ(PayloadOf({&event, 1}, kSeconds), kStart + "\x83" + Text("type") + Text("BlockRemoved") +
                                                  Text("block_hashes") + "\x91\x03" + Text("medium") + Text("GPU") +
                                                  kEnd);
}

TEST(KvEventPayload, ClearingHasNothingElse) {
  const std::vector<KvEvent> events(2);
  const std::string clearing = "\x81" + Text("type") + Text("AllBlocksCleared");
  EXPECT_EQ(PayloadOf({&events[0], 1}, kSeconds), kStart + clearing + kEnd);
  EXPECT_EQ(PayloadOf(events, kSeconds), kStart.substr(0, kStart.size() - 1) + "\x92" + clearing + clearing + kEnd);
}

TEST(KvEventPayload, NumbersAreBigEndian) {
  EXPECT_EQ(NumberBytes(0x0102), "\0\0\0\0\0\0\x01\x02"s);
  EXPECT_EQ(NumberBytes(kEndOfReplay), std::string(8, '\xff'));
}

}  // namespace
}  // namespace latentd
