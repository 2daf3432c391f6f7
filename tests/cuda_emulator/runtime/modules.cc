// Kernels and variables of generated modules, by name.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include <dlfcn.h>

#include "tests/cuda_emulator/runtime/failure.h"
#include "tests/cuda_emulator/runtime/host_api.h"
#include "tests/cuda_emulator/runtime/shadow.h"

namespace cuda_emulator {
namespace {

struct Registry {
  std::map<std::string, Kernel> kernels;
  std::map<std::string, Variable> variables;
};

Registry& TheRegistry() {
  static auto* registry = new Registry;
  return *registry;
}

void LoadModule(const std::string& path) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
    Fail(CUDA_EMULATOR_HERE, "host", "kernel module: %s", dlerror());
  }
}

// Modules register themselves as they are loaded. In a directory the order is that of the names.
void LoadModulesOnce() {
  static bool begun = false;
  if (std::exchange(begun, true)) return;
  const char* paths = std::getenv("CUDA_EMULATOR_KERNELS");
  if (paths == nullptr) return;
  std::istringstream stream(paths);
  for (std::string path; std::getline(stream, path, ':');) {
    if (path.empty()) continue;
    if (!std::filesystem::is_directory(path)) {
      LoadModule(path);
      continue;
    }
    std::set<std::string> modules;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() == ".so") modules.insert(entry.path().string());
    }
    for (const std::string& module : modules) LoadModule(module);
  }
}

template <typename Value>
const Value* Find(const std::map<std::string, Value>& values, const char* name) {
  const auto found = values.find(name);
  return found == values.end() ? nullptr : &found->second;
}

}  // namespace

Module::Module(std::initializer_list<Kernel> kernels, std::initializer_list<Variable> variables) {
  Registry& registry = TheRegistry();
  for (const Kernel& kernel : kernels) registry.kernels.insert_or_assign(kernel.name, kernel);
  for (const Variable& variable : variables) {
    registry.variables.insert_or_assign(variable.name, variable);
    AddVariableRegion(variable);
  }
}

const Kernel* FindKernel(const char* name) {
  LoadModulesOnce();
  return Find(TheRegistry().kernels, name);
}

const Variable* FindVariable(const char* name) {
  LoadModulesOnce();
  return Find(TheRegistry().variables, name);
}

}  // namespace cuda_emulator
