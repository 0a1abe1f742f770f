// How many threads run a call, and how its rows and steps are parted among them: from a model of what steps and waits cost.
#pragma once
#include <cstdint>

#include "engine.h"

namespace escriba { namespace engine {

enum class Parting : int { BEST = 0, BY_UNITS = 1, BY_ROWS = 2 };  // the last two, whatever they cost: for tests

struct Plan {
    int teams;  // more than one: so many threads, each by itself with its own rows
    int threads;  // of the one team, else
    int rows;  // at once
    int steps;  // at once
};

// threads: at most so many. writing: a step at a time.
Plan plan_of(const Network& net, int threads, Parting parting, std::int64_t rows, std::int64_t steps, bool writing);

}}  // namespace escriba::engine
