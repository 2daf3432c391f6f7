// latentctl-load: the command load of latentctl, which runs this program for it.
#include "base/standard_descriptors.h"
#include "tools/client/program_line.h"
#include "tools/load/load_command.h"

int main(int argc, char** argv) {
  latentd::OpenMissingStandardDescriptors();
  latentd::CommandLine line = latentd::LatentctlLine();
  int code = 0;
  latentd::AddLoadCommand(line.root(), code);
  return latentd::FinishLatentctl(line, argc, argv, code);
}
