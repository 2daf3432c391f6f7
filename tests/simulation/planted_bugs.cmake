latentd_planted_bug(one_token_too_many RULE reason IN engine/step/engine.cc
  TEXT "sequence.num_generated() >= stopping.max_tokens"
  BECOMES "sequence.num_generated() > stopping.max_tokens")
latentd_planted_bug(misplaced_latent RULE slots IN engine/step/batch_builder.cc
  TEXT "block * kBlockSlots + position % kBlockSlots"
  BECOMES "block * kBlockSlots + (position - row.first_position) % kBlockSlots")
latentd_planted_bug(tokens_stay_queued RULE queue IN engine/loop/queue_limit.cc
  TEXT "waiting_.tokens -= left.tokens;"
  BECOMES "")
latentd_planted_bug(missed_resume RULE backlog IN engine/loop/inbox.cc
  TEXT "if (!stream->full()) Resume(id);"
  BECOMES "if (stream == nullptr) Resume(id);")
latentd_planted_bug(drain_ends_nothing RULE ended IN engine/loop/engine_loop.cc
  TEXT "if (commands.cancel_all) engine_->CancelAll(FinishReason::kDraining);"
  BECOMES "")
latentd_planted_bug(uncounted_discards RULE metrics IN engine/stream/publisher.cc
  TEXT "++batch.num_discarded;"
  BECOMES "")
latentd_planted_bug(lost_tail RULE output IN engine/stream/publisher.cc
  TEXT "if (!is_over) Add(answer.text.Finish(), chunk);"
  BECOMES "")
latentd_planted_bug(untold_release RULE times IN engine/step/engine.cc
  TEXT "end.timings.released = std::min(end.timings.released, finished);"
  BECOMES "")
latentd_planted_bug(full_stream_ends RULE one-end IN engine/stream/publisher.cc
  TEXT "if (is_end) {"
  BECOMES "if (is_end || !has_room) {")
latentd_planted_bug(short_history RULE output IN engine/step/batch_builder.cc
  TEXT ".tokens = std::span(sequence.tokens).first(static_cast<size_t>(position)),"
  BECOMES ".tokens = std::span(sequence.tokens).first(static_cast<size_t>(position) - 1),")
# It was real once.
latentd_planted_bug(forgotten_pause RULE backlog SEEDS 6000 IN engine/stream/token_stream.cc
  TEXT "full_ = full_ || IsOverBound();"
  BECOMES "full_ = IsOverBound();")
