// A Generate stream from the engine to a client on loopback, with an egress thread that the test can hold up.
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "latentd/v1/generation.grpc.pb.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/grpc_server.h"
#include "server/grpc/reception.h"
#include "tests/server/model_free_daemon.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kPrompt = 7;
constexpr int kSeed = 1;
constexpr int kTokens = 50;

// A daemon without a model. The engine waits before each step that may not run yet, the egress thread while held.
class Serving {
 public:
  Serving()
      : daemon_([this](const BatchInputs&, std::span<const SampleRow>) { AwaitPermission(); }),
        service_(daemon_.gate, reception_.PartsWith(egress_)),
        server_(OrDie(GrpcServer::Start({.listen = "127.0.0.1:0", .state = state_, .services = {&service_}}))) {
    hold_.pump = [this] {
      held_.set_value();
      release_.get_future().wait();
    };
    hold_.release = [] {};
    egress_.Attach(hold_);
    daemon_.OpenGate();
  }
  ~Serving() {
    server_->Shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(1));
    egress_.Done(hold_);
    egress_.AwaitEmpty(kNever);
  }

  void HoldEgress() {
    egress_.Wake(hold_);
    held_.get_future().wait();
  }
  void ReleaseEgress() { release_.set_value(); }

  void AllowSteps(int num_steps) {
    std::lock_guard lock(mutex_);
    steps_allowed_ = num_steps;
    changed_.notify_all();
  }
  uint64_t tokens_delivered() const { return daemon_.metrics.Snapshot().generated_tokens_delivered; }

  std::unique_ptr<v1::Generation::Stub> NewStub() const {
    return v1::Generation::NewStub(
        grpc::CreateChannel(server_->address().ToString(), grpc::InsecureChannelCredentials()));
  }

 private:
  void AwaitPermission() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return steps_allowed_ > 0; });
    --steps_allowed_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int steps_allowed_ = 1000;

  ModelFreeDaemon daemon_;
  Reception reception_{Config{}, daemon_.metrics};
  Egress egress_{1};
  Egress::Slot hold_;
  std::promise<void> held_, release_;
  GenerationService service_;
  ServingState state_;
  std::unique_ptr<GrpcServer> server_;
};

class GenerateStreamTest : public testing::Test {
 protected:
  GenerateStreamTest() {
    request_.mutable_token_ids()->add_ids(kPrompt);
    request_.mutable_sampling()->set_seed(kSeed);
    request_.mutable_stopping()->set_max_tokens(kTokens);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  }

  // Adds what the next event holds; false after the last one.
  bool ReadOne(grpc::ClientReader<v1::GenerateEvent>& reader) {
    v1::GenerateEvent event;
    if (!reader.Read(&event)) return false;
    ++num_events_;
    for (const uint32_t id : event.delta().token_ids()) ids_.push_back(static_cast<int32_t>(id));
    return true;
  }
  std::vector<int32_t> ExpectedIds() const {
    return FakeTokens({kPrompt}, kSeed, kTokens, ModelFreeDaemon::kLimits.vocab_size);
  }

  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  std::vector<int32_t> ids_;
  int num_events_ = 0;
  Serving serving_;
};

TEST_F(GenerateStreamTest, TokenThatWasThereBeforeTheFirstPumpIsNotLeftBehind) {
  const auto stub = serving_.NewStub();
  serving_.AllowSteps(1);
  serving_.HoldEgress();
  const auto reader = stub->Generate(&context_, request_);
  while (serving_.tokens_delivered() == 0) std::this_thread::yield();
  serving_.ReleaseEgress();
  EXPECT_TRUE(ReadOne(*reader)) << "started";
  EXPECT_TRUE(ReadOne(*reader)) << "the first token, although the engine gives no second one";
  EXPECT_EQ(ids_.size(), 1u);
  serving_.AllowSteps(kTokens);
  while (ReadOne(*reader)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(ids_, ExpectedIds());
}

TEST_F(GenerateStreamTest, WhatWaitedIsMergedBehindTheFirstToken) {
  const auto stub = serving_.NewStub();
  serving_.HoldEgress();
  const auto reader = stub->Generate(&context_, request_);
  while (serving_.tokens_delivered() < kTokens) std::this_thread::yield();
  serving_.ReleaseEgress();
  while (ReadOne(*reader)) {
    if (num_events_ == 2) {
      EXPECT_EQ(ids_.size(), 1u);
    }
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(ids_, ExpectedIds());
  EXPECT_LT(num_events_, kTokens / 2);
}

}  // namespace
}  // namespace latentd
