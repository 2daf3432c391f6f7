// cudaGraph*: what captures become, and launches of it.
#include <algorithm>
#include <set>
#include <utility>

#include "tests/cuda_emulator/cudart/api_call.h"
#include "tests/cuda_emulator/cudart/capture.h"
#include "tests/cuda_emulator/runtime/host_api.h"
#include "tests/cuda_emulator/runtime/schedule.h"

using namespace cuda_emulator;

struct CUgraph_st {
  std::shared_ptr<const GraphNodes> nodes;
};

// Launches of one instance run one after the other.
struct CUgraphExec_st {
  std::shared_ptr<const GraphNodes> nodes;
  uint64_t launched = 0;
  std::shared_ptr<uint64_t> completed = std::make_shared<uint64_t>(0);
};

namespace {

std::set<cudaGraph_t>& Graphs() {
  static auto* graphs = new std::set<cudaGraph_t>;
  return *graphs;
}

std::set<cudaGraphExec_t>& GraphExecs() {
  static auto* execs = new std::set<cudaGraphExec_t>;
  return *execs;
}

// The nodes that a launch has still to run.
struct GraphRun {
  std::shared_ptr<const GraphNodes> nodes;
  std::vector<size_t> waiting;
  std::vector<bool> ran;

  bool IsReady(size_t node) const {
    const std::vector<size_t>& after = (*nodes)[node].after;
    return std::all_of(after.begin(), after.end(), [&](size_t before) { return ran[before]; });
  }

  bool Step() {
    if (waiting.empty()) return true;
    std::vector<size_t> ready;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (IsReady(waiting[i])) ready.push_back(i);
      if (!ready.empty() && CurrentSchedule().kind == ScheduleKind::kInOrder) break;
    }
    const size_t i = IsRandom(CurrentSchedule().kind) ? ready[Random() % ready.size()] : ready.back();
    const size_t node = waiting[i];
    waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
    (*nodes)[node].run();
    ran[node] = true;
    return waiting.empty();
  }
};

void EnqueueGraph(cudaGraphExec_t exec, cudaStream_t stream) {
  auto run = std::make_shared<GraphRun>();
  run->nodes = exec->nodes;
  run->ran.resize(exec->nodes->size());
  for (size_t i = 0; i < exec->nodes->size(); ++i) run->waiting.push_back(i);
  const uint64_t launch = ++exec->launched;
  auto step = [run, completed = exec->completed] {
    const bool done = run->Step();
    if (done) ++*completed;
    return done;
  };
  auto ready = [completed = exec->completed, launch] { return *completed + 1 >= launch; };
  Streams::Get().EnqueueSteps(stream, step, ready);
}

cudaError_t Instantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  if (exec == nullptr || !Graphs().contains(graph)) return cudaErrorInvalidValue;
  if (flags != 0) return NotSupported("cudaGraphInstantiate", "flags");
  *exec = new CUgraphExec_st{.nodes = graph->nodes};
  GraphExecs().insert(*exec);
  return cudaSuccess;
}

cudaError_t LaunchGraph(cudaGraphExec_t exec, cudaStream_t stream) {
  if (!Streams::Get().Check(stream, "cudaGraphLaunch")) return cudaErrorInvalidResourceHandle;
  if (!GraphExecs().contains(exec)) return cudaErrorInvalidValue;
  if (stream->capture != nullptr) {
    stream->capture->invalidated = true;
    return NotSupported("cudaGraphLaunch", "in a stream that is being captured");
  }
  EnqueueGraph(exec, stream);
  return cudaSuccess;
}

cudaError_t GetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (!Graphs().contains(graph) || count == nullptr) return cudaErrorInvalidValue;
  if (nodes != nullptr) return NotSupported("cudaGraphGetNodes", "the nodes themselves: only their number is known");
  *count = graph->nodes->size();
  return cudaSuccess;
}

}  // namespace

cudaGraph_t cuda_emulator::MakeGraph(GraphNodes nodes) {
  auto* graph = new CUgraph_st{std::make_shared<const GraphNodes>(std::move(nodes))};
  Graphs().insert(graph);
  return graph;
}

extern "C" {

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  return ApiCall(__func__, [&] { return Instantiate(exec, graph, flags); });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  return ApiCall(__func__, [&] { return Instantiate(exec, graph, flags); });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return ApiCall(__func__, [&] {
    if (!Streams::Get().Check(stream, "cudaGraphUpload")) return cudaErrorInvalidResourceHandle;
    return GraphExecs().contains(exec) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return ApiCall(__func__, [&] { return LaunchGraph(exec, stream); });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return ApiCall(__func__, [&] { return GetNodes(graph, nodes, count); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return ApiCall(__func__, [&] {
    if (Graphs().erase(graph) == 0) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
  });
}

// Launches in the queue keep their nodes.
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return ApiCall(__func__, [&] {
    if (GraphExecs().erase(exec) == 0) return cudaErrorInvalidValue;
    delete exec;
    return cudaSuccess;
  });
}

}  // extern "C"
