// Threads lent by PyTorch's OpenMP: its workers are awake already between its own loops, and two teams would be in each other's way.
//
// Python finds the three functions of the OpenMP that PyTorch uses and sets them once; where there are none, `together` begins threads.
// Only training asks for these: after a fork they are gone. It knows nothing of what is done.
#pragma once
#include "threads.h"

namespace escriba {

using WorkOf = void (*)(void* data, const Team& team);

// Whether the work was done by lent threads; false: there are none to lend, and nothing was done.
bool done_by_workers(int threads, WorkOf work, void* data);

// As `together`, by lent threads where there are any. The team may be smaller than asked for.
template <class Work>
void together_with_workers(int threads, Work&& work) {
    auto call = [](void* data, const Team& team) { (*static_cast<decltype(&work)>(data))(team); };
    if (threads > 1 && done_by_workers(threads, call, &work)) return;
    together(threads, work);
}

}  // namespace escriba
