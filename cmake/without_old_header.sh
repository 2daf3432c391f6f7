#!/bin/sh
# Runs the compiler "$@" after removing the precompiled header that it is told to make. ccache asks the preprocessor
# what goes into the new one, and that one reads the old one where there is one: it would be taken for the new one.
for argument; do
  case $argument in *.gch) rm -f "$argument" ;; esac
done
exec "$@"
