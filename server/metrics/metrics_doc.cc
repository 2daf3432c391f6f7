// Prints deploy/METRICS.md.
#include <iostream>

#include "server/metrics/metric_catalog.h"

int main() { std::cout << latentd::RenderMetricsPage(); }
