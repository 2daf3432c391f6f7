# Mistakes that the simulation has to find, each in a build of its own: latentd_planted_bug in CMakeLists.txt.

# Order and shares.
latentd_planted_bug(priority_inversion RULE order IN engine/schedule/rank.cc
  TEXT "if (class_a != class_b) return class_a > class_b;"
  BECOMES "if (class_a != class_b) return class_a < class_b;")
latentd_planted_bug(no_ageing RULE share IN engine/schedule/rank.cc
  TEXT "const int64_t num_raised = (moment.now - standing.received) / moment.ageing;"
  BECOMES "const int64_t num_raised = 0;")
latentd_planted_bug(highest_loses RULE order IN engine/schedule/rank.cc
  TEXT "if (class_a != class_b) return class_a < class_b;"
  BECOMES "if (class_a != class_b) return class_a > class_b;" SEEDS 2400)
latentd_planted_bug(tenants_in_turn RULE share IN engine/schedule/rank.cc
  TEXT "const bool is_first = std::tie(a.service, a.number) < std::tie(b.service, b.number);"
  BECOMES "const bool is_first = a.number < b.number;")
latentd_planted_bug(uncharged_answers RULE share IN engine/schedule/tenants.cc
  TEXT "tokens.prompt_tokens + kCostOfGenerated * tokens.generated_tokens;"
  BECOMES "tokens.prompt_tokens;")
latentd_planted_bug(weight_multiplies RULE share IN engine/schedule/tenants.cc
  TEXT "static_cast<double>(cost) / tenant.rule.weight;"
  BECOMES "static_cast<double>(cost) * tenant.rule.weight;")
latentd_planted_bug(preempted_comes_last RULE order IN engine/schedule/scheduler_plan.cc
  TEXT "++sequence.num_preemptions"
  BECOMES "++sequence.num_preemptions, sequence.standing.received = now_")
latentd_planted_bug(no_rotation RULE liveness IN engine/schedule/scheduler_plan.cc
  TEXT "running_.splice(running_.end(), running_, sequence.places.in_phase);"
  BECOMES "")
latentd_planted_bug(paused_hold_all RULE liveness IN engine/schedule/scheduler_plan.cc
  TEXT "if (paused == nullptr) return WaitReason::kBlocks;"
  BECOMES "return WaitReason::kBlocks;")
latentd_planted_bug(unbounded_rows RULE budget IN engine/schedule/scheduler_plan.cc
  TEXT "allowance.tokens - plan.num_tokens - num_again, affordable"
  BECOMES "allowance.tokens, affordable")
latentd_planted_bug(token_skipped RULE slots IN engine/schedule/scheduler_plan.cc
  TEXT "Deal({.sequence = sequence, .first = sequence.planned, .most = room()}, plan, allowance);"
  BECOMES "Deal({.sequence = sequence, .first = sequence.planned + 1, .most = room() - 1}, plan, allowance);")

# Ends.
latentd_planted_bug(late_by_a_step RULE ended IN engine/schedule/scheduler.cc
  TEXT "expiries_.FirstBy(now))"
  BECOMES "expiries_.FirstBy(now - std::chrono::milliseconds(5)))")
latentd_planted_bug(forgotten_queue_deadline RULE ended IN engine/schedule/scheduler.cc
  TEXT "const TimePoint ends = std::min(deadline, request.queue_deadline)"
  BECOMES "const TimePoint ends = deadline")
latentd_planted_bug(freed_in_flight RULE blocks IN engine/schedule/scheduler.cc
  TEXT "if (sequence.rows_in_flight == 0) {"
  BECOMES "if (true) {")
latentd_planted_bug(untold_release RULE times IN engine/step/engine.cc
  TEXT "end.timings.released = std::min(end.timings.released, finished);"
  BECOMES "")
latentd_planted_bug(one_token_too_many RULE reason IN engine/step/verdict.cc
  TEXT "num_tokens - sequence.num_prompt_tokens >= stopping.max_tokens"
  BECOMES "num_tokens - sequence.num_prompt_tokens > stopping.max_tokens")
latentd_planted_bug(lost_wake_up RULE liveness IN engine/loop/engine_loop.cc
  TEXT "turn.next_expiry = engine_->NextExpiry();"
  BECOMES "turn.next_expiry = kNever;")
latentd_planted_bug(drain_ends_nothing RULE ended IN engine/loop/engine_loop.cc
  TEXT "if (commands.cancel_all) engine_->CancelAll(FinishReason::kDraining);"
  BECOMES "")
latentd_planted_bug(no_continuations RULE queue IN engine/schedule/scheduler.cc
  TEXT "if (sequence.phase != SequencePhase::kAwaitingPrompt) return;"
  BECOMES "return;")

# Blocks.
latentd_planted_bug(leaked_block RULE blocks IN engine/schedule/block_cache.cc
  TEXT "block != table.blocks_.rend()"
  BECOMES "table.blocks_.rend() - block > 1")
latentd_planted_bug(freed_while_shared RULE check IN engine/schedule/block_cache.cc
  TEXT "if (--References(block) > 0) return;"
  BECOMES "if (--References(block) > 1) return;")
latentd_planted_bug(evicted_while_held RULE blocks IN engine/schedule/block_cache.cc
  TEXT "if (References(block)++ == 0) order_.Remove(block);"
  BECOMES "References(block)++;")
latentd_planted_bug(flushed_while_held RULE blocks IN engine/schedule/block_cache.cc
  TEXT "while (num_cached() > 0) Uncache(order_.Next(), removal)"
  BECOMES "while (num_cached() > 0)
    std::fill(references_.begin(), references_.end(), 0), Uncache(order_.Next(), removal)")
latentd_planted_bug(twins_stay RULE check IN engine/schedule/block_cache.cc
  TEXT "if (twin == kNoBlock) {"
  BECOMES "if (true) {")

# Hits.
latentd_planted_bug(trusted_hash RULE slots IN engine/schedule/prefix_index.cc
  TEXT "return IsSibling(block, place) && std::equal(place.ids.begin(), place.ids.end(), IdsOf(block).begin());"
  BECOMES "return IsSibling(block, place);")
latentd_planted_bug(early_publish RULE slots IN engine/schedule/scheduler_plan.cc
  TEXT "sequence.planned = row.end_position()"
  BECOMES "sequence.planned = row.end_position(),
  cache_.Publish(sequence.blocks, KeyOf(sequence), row.end_position(), TailRule::kWithTail)")
latentd_planted_bug(missing_copy RULE slots IN engine/step/batch_builder.cc
  TEXT "for (const BlockCopy& copy : plan.copies) {"
  BECOMES "for (const BlockCopy& copy : std::vector<BlockCopy>()) {")
latentd_planted_bug(short_copy RULE slots IN engine/step/batch_builder.cc
  TEXT ".count = copy.num_slots"
  BECOMES ".count = copy.num_slots - 1")
latentd_planted_bug(ignored_salt RULE cache IN engine/schedule/scheduler.cc
  TEXT "JoinSalt(request.scheduling.tenant, request.cache.salt)"
  BECOMES "request.scheduling.tenant")
latentd_planted_bug(ignored_no_store RULE cache IN engine/schedule/scheduler.cc
  TEXT "is_on && request.cache.stores ?"
  BECOMES "is_on ?")
latentd_planted_bug(ignored_bypass RULE cache IN engine/schedule/scheduler.cc
  TEXT ".reads = is_on && request.cache.reads"
  BECOMES ".reads = is_on")
latentd_planted_bug(ignored_keep RULE cache IN engine/schedule/scheduler.cc
  TEXT "is_kept ? now_ + FromSeconds(keep_seconds) : kNotKept"
  BECOMES "is_kept ? kNotKept : kNotKept")
latentd_planted_bug(recomputation_is_a_hit RULE metrics IN engine/schedule/scheduler_plan.cc
  TEXT "const int num_new = std::max(0, num_found - sequence.prompt_accounted);"
  BECOMES "const int num_new = num_found;")
latentd_planted_bug(uncounted_recomputation RULE metrics IN engine/schedule/scheduler.cc
  TEXT "totals_.recomputed_tokens += static_cast<uint64_t>(std::max(0, num_again));"
  BECOMES "totals_.recomputed_tokens += num_again > 0 ? 0 : 0;")

# What routers are told.
latentd_planted_bug(evicted_untold RULE events IN engine/schedule/prefix_index.cc
  TEXT "if (events_ != nullptr && removal != Removal::kFlushed)"
  BECOMES "if (events_ != nullptr && removal == Removal::kDropped)")
latentd_planted_bug(told_before_computed RULE events IN engine/schedule/scheduler_plan.cc
  TEXT "sequence.planned = row.end_position()"
  BECOMES "sequence.planned = row.end_position(),
  row.first_position == 0 && row.end_position() >= kBlockSlots
      ? kv_events_.StoredFirst(
            ChainHash(RootHash(KeyOf(sequence).salt), KeyOf(sequence).tokens.first(kBlockSlots)),
            KeyOf(sequence).salt, KeyOf(sequence).tokens.first(kBlockSlots))
      : void()")

# Steps.
latentd_planted_bug(misplaced_latent RULE slots IN engine/step/batch_rows.cc
  TEXT "block * kBlockSlots + position % kBlockSlots"
  BECOMES "block * kBlockSlots + (position - row.first_position) % kBlockSlots")
latentd_planted_bug(all_draw_as_the_first RULE output IN engine/step/batch_builder.cc
  TEXT ".index = static_cast<uint32_t>(sequence.id().index),"
  BECOMES ".index = 0,")
latentd_planted_bug(short_history RULE output IN engine/step/batch_builder.cc
  TEXT ".tokens = std::span(sequence.tokens).first(static_cast<size_t>(position)),"
  BECOMES ".tokens = std::span(sequence.tokens).first(static_cast<size_t>(position) - 1),")

# Inbox, publisher, streams.
latentd_planted_bug(tokens_stay_queued RULE queue IN engine/loop/queue_limit.cc
  TEXT "waiting_.tokens -= left.tokens;"
  BECOMES "")
latentd_planted_bug(missed_resume RULE backlog IN engine/loop/inbox.cc
  TEXT "if (!stream->full()) Resume(id);"
  BECOMES "if (stream == nullptr) Resume(id);")
latentd_planted_bug(uncounted_discards RULE metrics IN engine/stream/publisher.cc
  TEXT "++batch.num_discarded;"
  BECOMES "")
latentd_planted_bug(lost_tail RULE output IN engine/stream/publisher.cc
  TEXT "Add(answer.text.Finish(), chunk);"
  BECOMES "{}")
latentd_planted_bug(full_stream_ends RULE one-end IN engine/stream/publisher.cc
  TEXT "if (is_end) {"
  BECOMES "if (is_end || !has_room) {")
# It was real once.
latentd_planted_bug(forgotten_pause RULE backlog SEEDS 6000 IN engine/stream/token_stream.cc
  TEXT "full_ = full_ || IsOverBound();"
  BECOMES "full_ = IsOverBound();")

# Drafts.
latentd_planted_bug(one_draw_for_all_drafts RULE output IN engine/step/batch_builder.cc
  TEXT "samples_.push_back(DrawRow(sequence, next_position));"
  BECOMES "samples_.push_back(DrawRow(sequence, row.first_logit_position + 1));")
latentd_planted_bug(drafts_go_on_past_an_end RULE output IN engine/step/verdict.cc
  TEXT "verdict.is_finite && !verdict.end; ++i"
  BECOMES "verdict.is_finite; ++i")
latentd_planted_bug(wrong_drafts_are_right RULE output IN engine/step/verdict.cc
  TEXT "NumAccepted(sequence.drafts().first(static_cast<size_t>(row.num_drafts)), results)"
  BECOMES "row.num_drafts")
latentd_planted_bug(window_over_a_hole RULE slots IN engine/schedule/draft_dealer.cc
  TEXT "const bool goes_on = sequence.drafted.to == row.first_position + 1;"
  BECOMES "const bool goes_on = true;")
latentd_planted_bug(drafts_leak_blocks RULE blocks IN engine/schedule/draft_dealer.cc
  TEXT "std::min(BlocksFor(end), sequence.most.blocks)"
  BECOMES "BlocksFor(end) + 1")
latentd_planted_bug(rejected_latents_count RULE slots IN engine/schedule/draft_dealer.cc
  TEXT "std::min(sequence.drafted.to, row.committed_end() + 1)"
  BECOMES "sequence.drafted.to")
