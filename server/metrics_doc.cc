// Prints deploy/METRICS.md.
#include <iostream>

#include "server/metric_catalog.h"

int main() { std::cout << latentd::RenderMetricsPage(); }
