# Mistakes that the simulation has to find, each in a build of its own: latentd_planted_bug in CMakeLists.txt.
