// latentctl's commands, one function per subcommand. Each returns the exit code.
#pragma once

#include <string>
#include <vector>

#include "latentd/v1/generation.pb.h"
#include "tools/latentctl/common_options.h"

namespace latentd {

int Generate(const CommonOptions& options, const v1::GenerateRequest& request);
int Score(const CommonOptions& options, const v1::ScoreRequest& request);
int Tokenize(const CommonOptions& options, const v1::TokenizeRequest& request);
int Detokenize(const CommonOptions& options, const v1::DetokenizeRequest& request);
int ShowModel(const CommonOptions& options);
int CheckHealth(const CommonOptions& options, const std::string& service);
// The same, once it serves or after so many seconds.
int AwaitServing(const CommonOptions& options, const std::string& service, double seconds);

// Reads turns from stdin until its end and keeps the history. `request` holds what all turns share.
int Converse(const CommonOptions& options, v1::ChatRequest request);

}  // namespace latentd
