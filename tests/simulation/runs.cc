#include "tests/simulation/runs.h"

#include <csignal>
#include <cstdio>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/simulation/violation.h"

namespace latentd::simulation {
namespace {

struct Child {
  pid_t process = -1;
  int output = -1;  // the end of a pipe from its standard error
};

// Writes as Violate does, with what a signal handler may call.
void EndHangingWorld(int) {
  constexpr std::string_view kLine = "violation of liveness: a world runs without end\n";
  const ssize_t written = write(STDERR_FILENO, kLine.data(), kLine.size());
  _exit(written < 0 ? 1 : kViolatedExitCode);
}

// The child ends without any destructor or exit handler of its parent's.
Child Start(const std::function<void()>& work) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  std::fflush(nullptr);
  const pid_t process = fork();
  CHECK_GE(process, 0);
  if (process == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    CHECK(std::signal(SIGALRM, EndHangingWorld) != SIG_ERR);
    alarm(kMostWorldSeconds);
    work();
    std::fflush(nullptr);
    _exit(0);
  }
  close(ends[1]);
  return {.process = process, .output = ends[0]};
}

std::string ReadAll(int descriptor) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t size = read(descriptor, buffer, sizeof(buffer));
    if (size <= 0) break;
    text.append(buffer, static_cast<size_t>(size));
  }
  close(descriptor);
  return text;
}

std::string RuleIn(std::string_view output) {
  constexpr std::string_view kViolation = "violation of ";
  const size_t violation = output.rfind(kViolation);
  if (violation != std::string_view::npos) {
    const std::string_view rest = output.substr(violation + kViolation.size());
    return std::string(rest.substr(0, rest.find(':')));
  }
  const bool is_check = output.find("check failed") != std::string_view::npos;
  return is_check ? std::string(NameOf(Rule::kCheck)) : "crash";
}

std::optional<Broken> Await(const Child& child) {
  std::string output = ReadAll(child.output);
  int status = 0;
  CHECK_EQ(waitpid(child.process, &status, 0), child.process);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::nullopt;
  std::string rule = RuleIn(output);
  return Broken{.rule = std::move(rule), .output = std::move(output)};
}

// What a child that goes through seeds tells its parent, in memory that both have.
struct Progress {
  uint64_t seed = 0;  // begun
  Coverage coverage;
};

}  // namespace

std::optional<Broken> RunInChild(const std::function<void()>& work) { return Await(Start(work)); }

std::optional<Broken> RunScenario(const Scenario& scenario, const Tokenizer& tokenizer, Telling telling) {
  return RunInChild([&] { World(scenario, tokenizer, telling).Run(); });
}

SeedsRun RunSeeds(const SeedRange& range, const Tokenizer& tokenizer) {
  const auto num_processes = static_cast<size_t>(range.num_processes);
  const size_t num_bytes = num_processes * sizeof(Progress);
  void* const memory = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  auto* const progress = static_cast<Progress*>(memory);
  std::vector<Child> children;
  for (size_t i = 0; i < num_processes; ++i) {
    Progress& own = *new (progress + i) Progress;
    children.push_back(Start([&range, &tokenizer, &own, i, num_processes] {
      for (uint64_t seed = range.first + i; seed < range.first + range.count; seed += num_processes) {
        own.seed = seed;
        alarm(kMostWorldSeconds);
        const Scenario scenario = DrawScenario(seed);
        World world(scenario, tokenizer);
        world.Run();
        own.coverage.Add(world.coverage());
      }
    }));
  }
  SeedsRun run;
  for (size_t i = 0; i < num_processes; ++i) {
    std::optional<Broken> broken = Await(children[i]);
    run.coverage.Add(progress[i].coverage);
    if (!broken || (run.broken_seed && *run.broken_seed < progress[i].seed)) continue;
    run.broken_seed = progress[i].seed;
    run.broken = std::move(*broken);
  }
  munmap(memory, num_bytes);
  return run;
}

}  // namespace latentd::simulation
