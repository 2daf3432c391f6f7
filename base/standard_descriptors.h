// Descriptors 0, 1 and 2, which programs take for granted and which a parent process may have closed.
#pragma once

namespace latentd {

// Opens /dev/null on each of them that is closed, or the first file or socket of the program would take its number and
// be read as input or written over with messages. Runs before main, and before the constructors of libraries, in every
// program that calls it.
void OpenMissingStandardDescriptors();

// The exit code of a program that would end with `code`: 1, with a line on standard error, where not all of its output
// could be written. Nothing can be written to standard output after it.
int FinishStandardOutput(const char* program, int code);

}  // namespace latentd
