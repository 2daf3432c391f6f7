// Between engine and clients: turns ids into text, parses answers, finds stop strings, feeds the TokenStreams, and says
// what the engine should do about it. Never waits for a client. It has no thread and no lock of its own: one caller at
// a time, which is the PublisherThread in production.
//
// A stream is opened before the first output of its request is published; it closes with the last end of the request's
// sequences. Each of them is an answer with a text of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/metrics.h"
#include "engine/request.h"
#include "engine/step/step_output.h"
#include "engine/stream/stream_text.h"
#include "engine/stream/token_stream.h"
#include "engine/text/answer/answer_format.h"
#include "engine/text/answer/answer_parts.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

// Where the output of one request goes, and what of the request its text depends on.
struct StreamOpening {
  RequestId id = 0;
  RequestKind kind = RequestKind::kGenerate;
  StoppingRule stopping = {};
  AnswerRule answer = {};
  int num_sequences = 1;
  std::shared_ptr<TokenStream> stream = {};
};

StreamOpening OpeningOf(const Request& request, std::shared_ptr<TokenStream> stream);

// What follows for the engine. Applied in any order, but for one thing: the reader of a full stream may have taken all
// before the pause is known, and its Resume came too early then. So after a pause look at the stream again, and resume
// where it is no longer full (Inbox::Apply does).
struct Effects {
  struct Pause {
    RequestId id = 0;
    std::shared_ptr<TokenStream> stream;  // full when its last chunk was appended
  };
  std::vector<SequenceId> cancel = {};  // their text has a stop string
  std::vector<Pause> pause = {};
  std::vector<RequestId> ended = {};  // their streams have their end

  bool empty() const { return cancel.empty() && pause.empty() && ended.empty(); }
};

class Publisher {
 public:
  // Without a tokenizer there are ids and no text. Both must outlive the publisher.
  Publisher(const Tokenizer* tokenizer, Metrics& metrics);

  void Open(StreamOpening opening);
  // Takes the tokens out of `steps`, whose outputs of requests that are not open are ignored, and appends what follows
  // to `effects`. Several steps at once are counted before any of them can be read.
  void Publish(std::span<StepOutput> steps, Effects& effects);

 private:
  struct OpenAnswer {
    StreamText text;
    int num_tokens = 0;                   // published
    std::optional<SequenceEnd> end = {};  // of the step that is made ready, until it is with its tokens
  };

  struct OpenStream {
    RequestKind kind;
    bool include_stop;
    std::shared_ptr<TokenStream> stream;
    std::vector<OpenAnswer> answers;  // by index
    int num_ended = 0;                // of the answers
    StreamEnd end = {};               // of those
  };

  // What one sequence got, of some step.
  struct Part {
    SequenceId id;
    std::span<SampleResult> tokens;
    int cached_tokens = 0;  // of its prompt
    std::optional<SequenceEnd> end;
  };

  struct Ready {
    RequestId id = 0;
    std::shared_ptr<TokenStream> stream;
    StreamChunk chunk;
  };

  // What Publish makes of its steps.
  struct Batch {
    std::vector<Ready> ready;
    uint64_t num_delivered = 0;  // tokens
    uint64_t num_discarded = 0;
    Effects& effects;
  };

  // Null where its stream is not open.
  OpenStream* Find(RequestId id);
  static OpenAnswer& AnswerOf(SequenceId id, OpenStream& open);
  void MakeReady(StepOutput& step, Batch& batch);
  void AddPart(Part part, OpenStream& open, Batch& batch);
  StreamChunk MakeChunk(Part& part, OpenStream& open, Batch& batch) const;
  static void AddEnd(const SequenceEnd& end, OpenStream& open, StreamChunk& chunk);
  static AnswerParts PartsOf(const Part& part, size_t token, OpenStream& open);
  StreamToken MakeToken(SampleResult& result) const;

  const Tokenizer* const tokenizer_;
  const AnswerFormat format_;
  Metrics& metrics_;
  std::unordered_map<RequestId, OpenStream> streams_;
};

}  // namespace latentd
