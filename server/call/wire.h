// The transport of one call: an RPC of gRPC today, a connection or a stream of another protocol later. The call's state
// machines (call.h, answer_pump.h) know no more of it than this.
//
// A transport may tell the call several things at once, by any threads, Written even from within Write. Only
// Call::Done waits: for Received, ReceivedNothing, Written, WriteFailed and Left to return, and it is not called from
// within Write, Finish or Reset, which a lock of the call's may surround.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "server/api/message_bytes.h"

namespace latentd {

// Names and values that go ahead of an answer.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// The way out. No function blocks. After a Write there is no other one until AnswerPump::Written or WriteFailed, which
// any thread may call, even before Write returns. Finish is called once, at any time; Reset only after it.
class Wire {
 public:
  enum class Next : uint8_t {
    kOpen,     // perhaps there will be more
    kMessage,  // another message follows at once, so this one may wait for it and travel with it
    kEnd,      // the status. The write is over when the system has every byte, since it decides how the call ended.
  };

  virtual ~Wire() = default;

  virtual void Write(std::string message, Next next) = 0;
  // The status, behind what was written.
  virtual void Finish(const absl::Status& status) = 0;
  // Drops what the client has not read, its status included.
  virtual void Reset() = 0;
};

// The way in, too, and what the transport knows of its client.
class CallWire : public Wire {
 public:
  // Destroys the wire and the call, which the wire owns. Once, after Call::Done, and the last of all calls.
  virtual void Release() = 0;

  // Reads the call's one message. Call::Received or ReceivedNothing tells.
  virtual void Read() = 0;
  // The message that was read, uncompressed, until it is dropped. Not OK: it is too large, or packed in an unknown way.
  virtual absl::StatusOr<MessageBytes> Unpack() = 0;
  virtual void DropMessage() = 0;

  // Whether the transport knows by now that the client is gone, or its connection is. Call::Left may still be about to
  // tell.
  virtual bool IsCancelled() const = 0;
  // How large an answer in one message the client says it takes. INVALID_ARGUMENT where it says it wrongly.
  virtual absl::StatusOr<size_t> AcceptedAnswerBytes() const = 0;
  // Whom the call is for: the tenant of its credential or, where none is asked for, the one that the client names.
  // Empty where it names none, INVALID_ARGUMENT where it names it wrongly.
  virtual absl::StatusOr<std::string> Tenant() const = 0;

  // Before the first Write. Sent with it, unless they are sent before.
  virtual void AddMetadata(const Metadata& metadata) = 0;
  virtual void SendMetadata() = 0;
};

}  // namespace latentd
