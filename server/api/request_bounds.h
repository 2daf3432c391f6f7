// How many entries each repeated field and map of a request may have, counted on the wire, before anything is parsed: a
// message that is refused for its counts costs no memory of its own, and what is parsed is never much larger than its
// bytes. Pure functions; any thread. Every list of every request needs a line in the table: tests hold it complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <google/protobuf/descriptor.h>

#include "engine/model/config/sampling_ranges.h"
#include "latentd/v1/models.pb.h"
#include "server/api/message_bytes.h"

namespace latentd {

// Limits of one request.
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr size_t kMaxBadWords = 128;
inline constexpr size_t kMaxStopTokenIds = 128;
inline constexpr size_t kMaxChoices = 1024;
inline constexpr size_t kMaxMessages = 4096;
inline constexpr size_t kMaxTools = 128;
inline constexpr size_t kMaxVariables = 64;
inline constexpr size_t kMaxAbortIds = 16'384;
inline constexpr size_t kMaxMediaBatches = 16;  // refused anyway, by name
inline constexpr size_t kMaxLoadSections = 16;
inline constexpr size_t kMaxDetokenizedIds = 1 << 20;
// For all messages of a request together; one message may have as many as an answer (kMaxAnswerCalls).
inline constexpr size_t kMaxToolCallsInAll = 16'384;
// For one message, and for all messages together.
inline constexpr size_t kMaxContentParts = 1024;
inline constexpr size_t kMaxContentPartsInAll = 16'384;
// Bytes of fields that the schema does not have, or not in this form: newer clients may send some.
inline constexpr size_t kMaxUnknownBytes = 16 << 10;

// What the served model adds.
struct ModelBounds {
  uint32_t vocab_size = std::numeric_limits<uint32_t>::max();
  uint32_t max_context_tokens = std::numeric_limits<uint32_t>::max();
};

ModelBounds BoundsOf(const v1::Model& model);

// Nothing where the table lacks the field. `field` is repeated.
std::optional<size_t> MaxEntriesOf(const google::protobuf::FieldDescriptor& field, const ModelBounds& model);

// INVALID_FIELD, or CONTEXT_LENGTH_EXCEEDED for a prompt of too many ids, with the field's path and both numbers.
// Linear in the bytes, without allocations of their order. Bytes that are no message pass: parsing tells.
absl::Status CheckEntries(MessageBytes bytes, const google::protobuf::Descriptor& type, const ModelBounds& model);

// How many entries a message that CheckEntries passed has in this list of its own. Linear, too.
size_t CountEntries(MessageBytes bytes, const google::protobuf::FieldDescriptor& list);

}  // namespace latentd
