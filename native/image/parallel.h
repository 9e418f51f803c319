// Several threads that take one step after another until there is none left: how conversions run in parallel.
#pragma once

#include <cstddef>
#include <functional>

namespace node_compute {

/// Number of threads for a conversion: `wanted`, or with 0 the number of CPUs; at most 4, since more of them
/// wait for memory.
unsigned conversion_threads(unsigned wanted);

/// Each of `threads` calls `step` with its number until that says false, number 0 on this thread. Throws what
/// the first that failed threw; all of them have then ended.
void in_parallel(std::size_t threads, const std::function<bool(std::size_t)>& step);

}  // namespace node_compute
